"""Image files in `DIR/{train,val,test}/<class>/`, decoded and resized when they are loaded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from dermaexp.core import rules
from dermaexp.core.errors import UserError, nearest
from dermaexp.core.files import expanded
from dermaexp.data.config import FolderConfig
from dermaexp.data.pictures import is_picture, read_picture
from dermaexp.data.splits import SPLITS, Splits, checked_splits


def load(path: str, size: int, name: str | None = None) -> Splits:
    """The splits below `path`; the classes are the folders of `train` in alphabetical order."""
    rules.check(FolderConfig, {"path": str(path), "size": size, "name": name}, "dataset")
    root = expanded(str(path)).absolute()
    if not root.is_dir():
        raise UserError(f"{root} is not a folder: expected DIR with {', '.join(SPLITS)} in it")
    classes = tuple(folder.name for folder in _class_folders(root / "train"))
    for name_of_class in classes:
        folder = root / "train" / name_of_class
        if not any(map(is_picture, folder.iterdir())):
            raise UserError(f"{folder} has no images: expected *.png or *.jpg in it")
    arrays = {split: _read_split(root / split, classes, size) for split in SPLITS}
    return checked_splits(name or root.name, classes, arrays, origin=str(root))


def _class_folders(split: Path) -> list[Path]:
    entries = sorted(split.iterdir()) if split.is_dir() else []
    folders = [entry for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    if not folders:
        raise UserError(f"{split} has no class folders: expected {split}/<class>/*.png or *.jpg")
    return folders


def _read_split(split: Path, classes: tuple[str, ...], size: int) -> tuple[np.ndarray, np.ndarray]:
    files: list[Path] = []
    labels: list[int] = []
    for folder in _class_folders(split):
        if folder.name not in classes:
            raise UserError(f"{folder}: no such class in train; {nearest(folder.name, classes)}")
        found = sorted(file for file in folder.iterdir() if is_picture(file))
        files += found
        labels += [classes.index(folder.name)] * len(found)
    if not files:
        raise UserError(f"{split} has no images: expected {split}/<class>/*.png or *.jpg")
    with ThreadPoolExecutor() as pool:  # decoding frees Python's lock
        images = list(pool.map(lambda file: read_picture(file, (size, size)), files))
    return np.stack(images), np.array(labels)
