"""Image files in `DIR/{train,val,test}/<class>/`, decoded and resized when they are loaded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from dermaexp.data.splits import SPLITS, Splits, checked_splits
from dermaexp.errors import UserError, nearest

SUFFIXES = {".png", ".jpg", ".jpeg"}


def load(path: str, size: int, name: str | None = None) -> Splits:
    """The splits below `path`; every class is a folder of `train`, in alphabetical order."""
    root = Path(path).expanduser()
    if not root.is_dir():
        raise UserError(f"{root} is not a folder: expected DIR with {', '.join(SPLITS)} in it")
    if not isinstance(size, int) or size < 1:
        raise UserError(f"dataset.size={size}: expected a whole number of pixels from 1")
    classes = tuple(folder.name for folder in _class_folders(root / "train"))
    arrays = {split: _read_split(root / split, classes, size) for split in SPLITS}
    return checked_splits(name or root.name, classes, arrays, origin=str(root))


def _class_folders(split: Path) -> list[Path]:
    folders = sorted(entry for entry in split.iterdir() if entry.is_dir()) if split.is_dir() else []
    if not folders:
        raise UserError(f"{split} has no class folders: expected {split}/<class>/*.png or *.jpg")
    return folders


def _read_split(split: Path, classes: tuple[str, ...], size: int) -> tuple[np.ndarray, np.ndarray]:
    files: list[Path] = []
    labels: list[int] = []
    for folder in _class_folders(split):
        if folder.name not in classes:
            raise UserError(f"{folder}: no such class in train; {nearest(folder.name, classes)}")
        found = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
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
    except OSError as error:
        raise UserError(f"{file} cannot be decoded: expected a whole PNG or JPEG file") from error
    return np.asarray(ImageOps.fit(upright, (size, size), Image.Resampling.BILINEAR))
