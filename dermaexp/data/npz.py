"""Files in MedMNIST's format: `{train,val,test}_{images,labels}` in one npz."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dermaexp.data.splits import SPLITS, Splits, checked_splits
from dermaexp.errors import UserError, nearest

KEYS = tuple(f"{split}_{part}" for split in SPLITS for part in ("images", "labels"))


def load(path: str, classes: Sequence[str] | str | None = None, name: str | None = None) -> Splits:
    """The splits of the file at `path`.

    `classes`: names in the order of the labels, or a MedMNIST flag whose names to use; without
    them, "class 0" … for as many as the training labels have.
    """
    file = Path(path).expanduser()
    arrays = read_arrays(file)
    names = _class_names(classes, arrays["train"][1])
    return checked_splits(name or file.stem, names, arrays, origin=str(file))


def read_arrays(file: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Split -> (images, labels) as they stand in `file`; UserError if it is not such a file."""
    if not file.is_file():
        raise UserError(f"{file} is not a file: expected an npz in MedMNIST's format, {KEYS[0]} …")
    try:
        content = np.load(file, allow_pickle=False)
        if isinstance(content, np.ndarray):
            raise UserError(f"{file} is a single array: expected an npz with {', '.join(KEYS)}")
        with content:
            if missing := [key for key in KEYS if key not in content.files]:
                raise UserError(
                    f"{file} lacks {', '.join(missing)}: expected {', '.join(KEYS)}, "
                    f"found {', '.join(content.files) or 'nothing'}"
                )
            return {s: (content[f"{s}_images"], content[f"{s}_labels"]) for s in SPLITS}
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        raise UserError(
            f"{file} is damaged or not an npz ({error}): expected an npz in MedMNIST's format; "
            "get it again"
        ) from error


def _class_names(classes: Sequence[str] | str | None, train_labels: np.ndarray) -> tuple[str, ...]:
    if classes is None:
        highest = int(train_labels.max()) if train_labels.size else -1
        return tuple(f"class {label}" for label in range(highest + 1))
    if not isinstance(classes, str):
        return tuple(str(name) for name in classes)
    from dermaexp.data.medmnist import INFO

    if classes not in INFO:
        raise UserError(
            f"dataset.classes={classes}: expected [NAME, …] or a MedMNIST flag; "
            f"{nearest(classes, INFO)}"
        )
    return tuple(INFO[classes]["label"].values())
