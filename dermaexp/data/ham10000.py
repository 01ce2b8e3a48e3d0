"""HAM10000 as people download it: a CSV and one or two folders of pictures."""

from __future__ import annotations

from pathlib import Path

from dermaexp.core import rules
from dermaexp.core.errors import UserError
from dermaexp.core.files import expanded
from dermaexp.data import table
from dermaexp.data.config import HAM10000Config, OnError
from dermaexp.data.how import GROUP_COLUMN
from dermaexp.data.pictures import BACKGROUND, is_passed_over, is_picture
from dermaexp.data.pool import Pool

METADATA = ("HAM10000_metadata.csv", "HAM10000_metadata", "HAM10000_metadata.tab")
CLASSES = {  # `dx` -> DermaMNIST's name, in its order
    "akiec": "actinic keratoses and intraepithelial carcinoma",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis-like lesions",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "melanocytic nevi",
    "vasc": "vascular lesions",
}


def load(
    path: str,
    size: int,
    group_column: str | None = GROUP_COLUMN,
    name: str | None = None,
    background: str = BACKGROUND,
    on_error: OnError = "stop",
) -> Pool:
    """The pictures that the metadata in the folder `path` name, grouped by lesion."""
    given = {"path": str(path), "size": size, "group_column": group_column, "name": name}
    given |= {"background": background, "on_error": on_error}
    rules.check(HAM10000Config, given, "dataset")
    root = expanded(str(path)).absolute()
    return table.load(
        str(_metadata(root)),
        images=[str(folder) for folder in _picture_folders(root)],
        image_column="image_id",
        label_column="dx",
        group_column=group_column,
        classes=CLASSES,
        size=size,
        name=name or "HAM10000",
        background=background,
        on_error=on_error,
    )


def _metadata(root: Path) -> Path:
    if not root.is_dir():
        raise UserError(f"dataset.path={root} is not a folder: expected one with {METADATA[0]}")
    for name in METADATA:
        if (root / name).is_file():
            return root / name
    raise UserError(f"{root} has no {METADATA[0]}: expected HAM10000's folders with it beside them")


def _picture_folders(root: Path) -> list[Path]:
    """The folders in `root` that hold pictures, or `root` itself.

    Kaggle's archive holds each folder twice, the names in other case: one of both is enough.
    """
    folders = {
        entry.name.casefold(): entry
        for entry in sorted(root.iterdir())
        if entry.is_dir() and not is_passed_over(entry)
    }
    found = [folder for folder in folders.values() if any(map(is_picture, folder.iterdir()))]
    if not found and not any(map(is_picture, root.iterdir())):
        raise UserError(
            f"{root} has no pictures: expected HAM10000_images_part_1 and HAM10000_images_part_2, "
            "or one folder of them"
        )
    return found or [root]
