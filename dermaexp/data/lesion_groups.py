"""Lesion groups, the images of one lesion: read from a CSV file, looked up across splits."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np

from dermaexp.core.errors import UserError, nearest
from dermaexp.core.files import expanded
from dermaexp.data.pool import Pool
from dermaexp.data.splits import SPLITS, Grouping, Splits

PLACE = ("split", "index")  # the columns that name the image of a row
LABEL = "label"  # an optional column


class _Label(NamedTuple):
    """The class of an image according to a line of the file."""

    line: int
    split: str
    image: int
    text: str


@overload
def with_lesion_groups(source: Splits, path: str, column: str) -> Splits: ...
@overload
def with_lesion_groups(source: Pool, path: str, column: str) -> Pool: ...
def with_lesion_groups(source: Splits | Pool, path: str, column: str) -> Splits | Pool:
    """Return the splits, or the pool, with the lesion groups in `column` of the CSV file at `path`.

    The file has one row for every image, named by the columns `split` and `index`. If it has a
    column `label`, its numbers or class names must be those of the data: this detects a file for
    the same images in another order. Raises UserError if any of this fails.
    """
    file = expanded(str(path))
    if isinstance(source, Splits):
        truth = {split: source[split].labels for split in SPLITS}
    elif source.own_split is None:
        raise UserError(
            f"dataset.groups={path} names images by split and index, and {source.name} has no "
            "splits: give dataset=table with a group_column"
        )
    else:
        truth = {split: source.labels[source.own_split == split] for split in SPLITS}
    named = _read(file, str(column), truth, source.classes)
    grouping = Grouping(file.name, str(column), fingerprint_of(named))
    if isinstance(source, Splits):
        train, val, test = (replace(source[split], lesion_groups=named[split]) for split in SPLITS)
        return replace(source, train=train, val=val, test=test, grouping=grouping)
    groups = np.empty(len(source), object)
    for split in SPLITS:
        groups[source.own_split == split] = named[split]
    return replace(source, lesion_groups=groups.astype(str), grouping=grouping)


def _read(
    file: Path, column: str, truth: Mapping[str, np.ndarray], classes: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """The lesion groups (N,) of each split, whose labels (N,) are the `truth`."""
    groups = {split: np.full(len(labels), "", dtype=object) for split, labels in truth.items()}
    said = []
    for line, row in _rows(file, column):
        split, index = _image(row, groups, f"{file}, line {line}")
        said.append(_Label(line, split, index, (row.get(LABEL) or "").strip()))
        if groups[split][index]:
            raise UserError(f"{file}, line {line}: {split} {index} is listed twice")
        groups[split][index] = (row[column] or "").strip()
        if not groups[split][index]:
            raise UserError(f"{file}, line {line}: the {column} is empty: expected a name")
    _check_labels(said, truth, classes, file)
    _check_all_there(groups, file)
    return {split: names.astype(str) for split, names in groups.items()}


def shares_lesion(splits: Splits, split: str, others: Sequence[str]) -> np.ndarray:
    """Whether each image of `split` (N,) shares its lesion group with an image of the `others`."""
    known = np.concatenate([splits.lesion_groups(other) for other in others])
    return np.isin(splits.lesion_groups(split), known)


def leaked(splits: Splits) -> np.ndarray:
    """Whether each test image (N,) shares its lesion group with an image of train or val.

    Val counts because it chooses the epoch.
    """
    return shares_lesion(splits, "test", ("train", "val"))


def _rows(file: Path, column: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and values of each row; UserError if the file is not such a CSV."""
    if not file.is_file():
        raise UserError(
            f"dataset.groups={file} is not a file: expected a CSV with the columns split, index "
            f"and {column}"
        )
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            rows = csv.DictReader(text)
            found = rows.fieldnames or []
            if len(found) < 3:
                raise UserError(
                    f"{file} begins with {','.join(found)!r}: expected names of columns with "
                    f"commas between them, split, index and {column}"
                )
            for name in PLACE:
                if name not in found:
                    raise UserError(f"{file} has no column {name}: {nearest(name, found)}")
            if column not in found:
                raise UserError(
                    f"{file} has no column {column}, dataset.group_column: {nearest(column, found)}"
                )
            if column in (*PLACE, LABEL):
                raise UserError(
                    f"dataset.group_column={column} does not say which images belong together: "
                    f"expected a column of {file} with the name of each image's lesion group"
                )
            for row in rows:
                yield rows.line_num, row
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file} cannot be read as CSV: {error}") from error


def _image(row: dict[str, str], groups: dict[str, np.ndarray], where: str) -> tuple[str, int]:
    """Split and index of the row's image."""
    split, index = (row["split"] or "").strip(), (row["index"] or "").strip()
    if split not in groups:
        raise UserError(f"{where}: split {split!r} is unknown: expected {', '.join(SPLITS)}")
    size = len(groups[split])
    if not index.isdecimal() or int(index) >= size:
        raise UserError(
            f"{where}: {split} has no image {index!r}: expected a number from 0 to {size - 1}"
        )
    return split, int(index)


def _check_labels(
    labels: Sequence[_Label],
    truths: Mapping[str, np.ndarray],
    classes: tuple[str, ...],
    file: Path,
) -> None:
    """Raise UserError unless all labels are the data's, read as class names or as numbers.

    Names may be numbers themselves, such as folders 1 to 6. Labels that are neither, such as the
    codes of another table, are ignored, and so are all where an image has several labels.
    """
    if any(truth.ndim == 2 for truth in truths.values()):
        return
    numbers = tuple(map(str, range(len(classes))))
    said = [label for label in labels if label.text in numbers or label.text in classes]
    wrong = []  # the first label that differs, in each reading
    for words in (classes, numbers):
        for label in said:
            truth = words[truths[label.split][label.image]]
            if label.text != truth:
                wrong.append((label, truth))
                break
        else:
            return
    label, truth = max(wrong, key=lambda found: found[0].line)  # the reading that goes further
    raise UserError(
        f"{file}, line {label.line}: {label.split} {label.image} has the label {label.text}, but "
        f"{truth} in the data: expected a file of this very data, in its order"
    )


def _check_all_there(groups: dict[str, np.ndarray], file: Path) -> None:
    missing = [(s, i) for s in SPLITS for i in np.flatnonzero(groups[s] == "")]
    if missing:
        total = sum(map(len, groups.values()))
        raise UserError(
            f"{file} lacks {len(missing):,} of {total:,} images, the first being {missing[0][0]} "
            f"{missing[0][1]}: expected a row for each"
        )


def fingerprint_of(groups: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of the lesion groups in the order of the images of each part."""
    digest = hashlib.sha256()
    for part, names in groups.items():
        digest.update(f"{part} {len(names)}\n".encode())
        digest.update("\n".join(names).encode())
    return digest.hexdigest()
