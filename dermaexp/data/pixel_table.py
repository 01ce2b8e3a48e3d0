"""Tables that hold a picture a row, such as Kaggle's hmnist_28_28_RGB.csv."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dermaexp.core.errors import UserError
from dermaexp.data.config import OnError
from dermaexp.data.faults import Rows, good_rows, notes_on_skipped
from dermaexp.data.lesion_groups import fingerprint_of
from dermaexp.data.pool import Pool
from dermaexp.data.split_names import splits_of
from dermaexp.data.splits import Grouping
from dermaexp.data.table_file import groups_of, read_table
from dermaexp.data.table_labels import Names, labels_of

FIRST = "pixel0000"  # the columns are pixel0000, pixel0001, … row by row, channels last


def is_one(file: Path) -> bool:
    """Whether the CSV file has columns of pixels."""
    if file.suffix.lower() != ".csv" or not file.is_file():
        return False
    with file.open("rb") as content:
        return FIRST in content.readline(200).decode("utf-8", "replace")


def load(
    file: Path,
    label_column: str | Sequence[str],
    split_column: str | None,
    group_column: str | None,
    classes: Names,
    size: int | None,
    name: str | None,
    on_error: OnError,
) -> Pool:
    """The images of the table, at the size that it has."""
    table = read_table(file, text=False)
    columns = [column for column in table.columns if str(column).startswith("pixel")]
    all_images = _images(table[columns].to_numpy(), size, file)
    text = table.drop(columns=columns).astype(str)
    labels = labels_of(text, label_column, classes, file)
    splits = splits_of(text, split_column, file)
    groups = groups_of(text, group_column, file)
    names = [f"row {row + 1}" for row in range(len(table))]
    good, skipped = good_rows(Rows(names, None, labels, splits, groups), file, on_error)
    images, values = all_images[good], labels.values[good]
    grouping = None
    if groups is not None and group_column is not None:
        groups = groups[good]
        grouping = Grouping(file.name, group_column, fingerprint_of({"all": groups}))
    digest = hashlib.sha256(f"{labels.classes!r} {images.shape}\n".encode())
    digest.update(images.data)
    digest.update(values.astype("<i8").data)
    return Pool(
        str(name or file.stem),
        labels.classes,
        images,
        values,
        digest.hexdigest(),
        own_split=None if splits is None else splits[good],
        lesion_groups=groups,
        grouping=grouping,
        skipped=tuple(skipped),
        notes=tuple(notes_on_skipped(skipped)),
    )


def _images(pixels: np.ndarray, size: int | None, file: Path) -> np.ndarray:
    """The images (N, S, S, C) uint8 of the rows (N, S * S * C), channels last."""
    shape = _shape(pixels.shape[1], file)
    if size not in (None, shape[0]):
        raise UserError(
            f"dataset.size={size}, but {file.name} holds pictures of {shape[0]} x {shape[1]} "
            "pixels: give dataset.size=null"
        )
    whole = np.issubdtype(pixels.dtype, np.integer)
    if not whole or pixels.min() < 0 or pixels.max() > 255:
        raise UserError(f"{file}: expected whole numbers from 0 to 255 in the columns of pixels")
    return np.ascontiguousarray(pixels, np.uint8).reshape(-1, *shape)


def _shape(pixels: int, file: Path) -> tuple[int, int, int]:
    for channels in (3, 1):
        side = math.isqrt(pixels // channels)
        if side * side * channels == pixels:
            return side, side, channels
    raise UserError(
        f"{file} has {pixels:,} columns of pixels: expected those of a square picture, gray or RGB"
    )
