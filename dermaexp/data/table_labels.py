"""The labels of a table: words, numbers, one column a class, or several words in a cell."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dermaexp.core.errors import UserError, nearest
from dermaexp.data.table_file import column_of

if TYPE_CHECKING:
    import pandas as pd

SEPARATOR = "|"  # between the labels of one image
WHOLE = re.compile(r"^(\d+)\.0$")
BINARY = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}
Names = Sequence[str] | Mapping[str, str] | None


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels (N,) of the rows, -1 for none, or indicators (N, L) of several labels a row."""

    classes: tuple[str, ...]
    values: np.ndarray

    @property
    def are_several(self) -> bool:
        return self.values.ndim == 2

    @property
    def missing(self) -> np.ndarray:
        """Whether each row (N,) has no label; indicators of all zeros say "none of these"."""
        return np.zeros(len(self.values), bool) if self.are_several else self.values < 0


def labels_of(table: pd.DataFrame, column: str | Sequence[str], names: Names, file: Path) -> Labels:
    """Return the labels in `column`, or in several columns of 0 and 1.

    `names` are the classes in the order of the labels: a list of the words, of names for the
    numbers, or a mapping from each word or number to the class's name. Labels with one name are one
    class.
    """
    if isinstance(column, str):
        cells = column_of(table, column, "label_column", file).tolist()
        if not any(cells):
            raise UserError(f"{file}: the column {column}, dataset.label_column, is empty")
        return labels_of_cells(cells, names, file)
    return _from_indicators(table, [str(name) for name in column], names, file)


def labels_of_cells(cells: Sequence[str], names: Names, file: Path | str) -> Labels:
    """Return the labels in cells of words and numbers, named as `labels_of` says."""
    words = [_words(cell) for cell in cells]
    known = sorted({word for row in words for word in row}, key=_order)
    place, classes = _named(known, names, file)
    if not any(len(row) > 1 for row in words):
        return Labels(classes, np.array([place[row[0]] if row else -1 for row in words], np.int64))
    indicators = np.zeros((len(words), len(classes)), np.int64)
    for row, own in enumerate(words):
        indicators[row, [place[word] for word in own]] = 1
    return Labels(classes, indicators)


def _words(cell: str) -> list[str]:
    """The labels in a cell; 1.0, as pandas writes whole numbers beside empty cells, is 1."""
    words = (word.strip() for word in cell.split(SEPARATOR))
    return [WHOLE.sub(r"\1", word) for word in words if word]


def _from_indicators(table: pd.DataFrame, columns: list[str], names: Names, file: Path) -> Labels:
    """One column a class: one label a row if each row has one 1, else several."""
    if len(columns) < 2 or len(set(columns)) < len(columns):
        raise UserError(
            f"dataset.label_column={columns}: expected a column, or several of 0 and 1, each once"
        )
    place, classes = _named(columns, names, file)
    indicators = np.zeros((len(table), len(classes)), np.int64)
    for name in columns:
        indicators[:, place[name]] |= _binary(table, name, file)
    if (indicators.sum(axis=1) == 1).all():
        return Labels(classes, indicators.argmax(axis=1))
    return Labels(classes, indicators)


def _binary(table: pd.DataFrame, name: str, file: Path) -> list[int]:
    cells = column_of(table, name, "label_column", file).str.lower().tolist()
    if wrong := next((cell for cell in cells if cell not in BINARY), None):
        raise UserError(f"{file}: the column {name} holds {wrong}: expected 0 or 1")
    if "" in cells:
        raise UserError(f"{file}: the column {name} has an empty cell: expected 0 or 1")
    return [BINARY[cell] for cell in cells]


def _named(
    known: list[str], names: Names, file: Path | str
) -> tuple[dict[str, int], tuple[str, ...]]:
    """The number of each label's class, and the names of the classes."""
    mapping = _mapping(known, known if names is None else names)
    if unknown := [word for word in known if word not in mapping]:
        raise UserError(
            f"{file}: the label {unknown[0]} is not in dataset.classes: "
            f"{nearest(unknown[0], mapping)}"
        )
    classes = tuple(dict.fromkeys(mapping.values()))
    return {word: classes.index(name) for word, name in mapping.items()}, classes


def _mapping(known: list[str], names: Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    """The name of the class of each label, in the order of the classes."""
    if isinstance(names, Mapping):
        return {str(key): str(name) for key, name in names.items()}
    listed = [str(name) for name in names]
    if all(word.isdecimal() for word in known) and not set(known) <= set(listed):
        return {str(number): name for number, name in enumerate(listed)}
    return {name: name for name in listed}


def _order(word: str) -> tuple[bool, float, str]:
    """Numbers by their size, before words."""
    return (not word.isdecimal(), float(word) if word.isdecimal() else 0.0, word)
