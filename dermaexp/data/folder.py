"""Image files in `DIR/{train,val,test}/<class>/`, decoded and resized when they are loaded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from dermaexp.core import rules
from dermaexp.core.errors import UserError, nearest
from dermaexp.core.files import expanded
from dermaexp.data.config import FolderConfig
from dermaexp.data.splits import SPLITS, Splits, checked_splits

SUFFIXES = {".png", ".jpg", ".jpeg"}


def load(path: str, size: int, name: str | None = None) -> Splits:
    """The splits below `path`; the classes are the folders of `train` in alphabetical order."""
    rules.check(FolderConfig, {"path": str(path), "size": size, "name": name}, "dataset")
    root = expanded(str(path)).absolute()
    if not root.is_dir():
        raise UserError(f"{root} is not a folder: expected DIR with {', '.join(SPLITS)} in it")
    classes = tuple(folder.name for folder in _class_folders(root / "train"))
    for name_of_class in classes:
        folder = root / "train" / name_of_class
        if not any(map(_is_image, folder.iterdir())):
            raise UserError(f"{folder} has no images: expected *.png or *.jpg in it")
    arrays = {split: _read_split(root / split, classes, size) for split in SPLITS}
    return checked_splits(name or root.name, classes, arrays, origin=str(root))


def _class_folders(split: Path) -> list[Path]:
    entries = sorted(split.iterdir()) if split.is_dir() else []
    folders = [entry for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    if not folders:
        raise UserError(f"{split} has no class folders: expected {split}/<class>/*.png or *.jpg")
    return folders


def _is_image(file: Path) -> bool:
    is_picture = file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
    return is_picture and file.is_file()


def _read_split(split: Path, classes: tuple[str, ...], size: int) -> tuple[np.ndarray, np.ndarray]:
    files: list[Path] = []
    labels: list[int] = []
    for folder in _class_folders(split):
        if folder.name not in classes:
            raise UserError(f"{folder}: no such class in train; {nearest(folder.name, classes)}")
        found = sorted(file for file in folder.iterdir() if _is_image(file))
        files += found
        labels += [classes.index(folder.name)] * len(found)
    if not files:
        raise UserError(f"{split} has no images: expected {split}/<class>/*.png or *.jpg")
    with ThreadPoolExecutor() as pool:  # decoding frees Python's lock
        images = list(pool.map(lambda file: _read_image(file, size), files))
    return np.stack(images), np.array(labels)


def _read_image(file: Path, size: int) -> np.ndarray:
    """RGB (size, size, 3) uint8: the shorter side resized to `size`, then the centre cropped."""
    try:
        with Image.open(file) as image:
            if image.mode.startswith(("I", "F")):
                raise UserError(f"{file} has {image.mode} pixels: expected 8 bits a channel")
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{file} cannot be decoded: expected a whole PNG or JPEG file") from error
    return np.asarray(ImageOps.fit(upright, (size, size), Image.Resampling.BILINEAR))
