"""A table that names the picture and the label of each row, or holds the pixels themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dermaexp.core import rules
from dermaexp.core.errors import UserError
from dermaexp.core.files import expanded
from dermaexp.data import pixel_table
from dermaexp.data.config import OnError, TableConfig
from dermaexp.data.faults import Rows, good_rows
from dermaexp.data.found_files import FoundFiles
from dermaexp.data.picture_pool import Known, picture_pool
from dermaexp.data.pictures import BACKGROUND
from dermaexp.data.pool import Pool
from dermaexp.data.split_names import splits_of
from dermaexp.data.table_file import column_of, groups_of, read_table
from dermaexp.data.table_labels import Names, labels_of

SIZE = 28  # pixels, where neither the config nor the table says another


def load(
    table: str,
    images: str | Sequence[str] | None = None,
    image_column: str = "image",
    label_column: str | Sequence[str] = "label",
    split_column: str | None = None,
    group_column: str | None = None,
    classes: Names = None,
    size: int | None = None,
    name: str | None = None,
    background: str = BACKGROUND,
    on_error: OnError = "stop",
) -> Pool:
    """The images of a table's rows.

    A row names its picture, which is searched for in `images`, by default the table's folder, or
    holds its pixels in the columns pixel0000, pixel0001, … Rows with a fault are named all at once:
    on_error="stop" raises UserError, "skip" leaves them out.
    """
    given = {key: value for key, value in locals().items() if key != "table"}
    rules.check(TableConfig, {"table": str(table), **_plain(given)}, "dataset")
    file = expanded(str(table)).absolute()
    columns = _columns(label_column)
    if pixel_table.is_one(file):
        return pixel_table.load(
            file, columns, split_column, group_column, classes, size, name, on_error
        )
    content = read_table(file)
    names = column_of(content, image_column, "image_column", file).tolist()
    labels = labels_of(content, columns, classes, file)
    splits = splits_of(content, split_column, file)
    groups = groups_of(content, group_column, file)
    folders = _folders(images, file)
    found = FoundFiles(folders)
    files = [found.find(cell) if cell else [] for cell in names]
    good, skipped = good_rows(Rows(names, files, labels, splits, groups), file, on_error)
    known = Known(
        labels.values[good],
        None if splits is None else splits[good],
        None if groups is None else groups[good],
        None if group_column is None else (file.name, group_column),
    )
    return picture_pool(
        str(name or file.stem),
        labels.classes,
        [files[row][0] for row in good],
        known,
        root=folders[0],
        size=size or SIZE,
        background=background,
        on_error=on_error,
        skipped=skipped,
    )


def _plain(given: Mapping[str, object]) -> dict[str, object]:
    return {key: str(value) if isinstance(value, Path) else value for key, value in given.items()}


def _columns(label_column: str | Sequence[str]) -> str | list[str]:
    if isinstance(label_column, Sequence) and not isinstance(label_column, str):
        return [str(name) for name in label_column]
    return str(label_column)


def _folders(images: str | Sequence[str] | None, file: Path) -> list[Path]:
    given = [images] if isinstance(images, (str, Path)) else images or [str(file.parent)]
    folders = [expanded(str(folder)).absolute() for folder in given]
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"dataset.images={folder} is not a folder: expected one with pictures")
    return folders
