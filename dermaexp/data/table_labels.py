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
    numbers, or a mapping from each word or number to the class's name.
    """
    if isinstance(column, str):
        return _from_cells(column_of(table, column, "label_column", file), names, file)
    return _from_indicators(table, [str(name) for name in column], names, file)


def _from_cells(cells: pd.Series, names: Names, file: Path) -> Labels:
    words = [_words(cell) for cell in cells.tolist()]
    known = sorted({word for row in words for word in row}, key=_order)
    if not known:
        raise UserError(f"{file}: the column {cells.name}, dataset.label_column, is empty")
    keys, classes = _named(known, names, file)
    place = {key: k for k, key in enumerate(keys)}
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
    if len(columns) < 2:
        raise UserError(f"dataset.label_column={columns}: expected a column, or several of 0/1")
    values = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "False": 0, "True": 1}
    indicators = np.empty((len(table), len(columns)), np.int64)
    for place, name in enumerate(columns):
        cells = column_of(table, name, "label_column", file).tolist()
        if wrong := next((cell for cell in cells if cell not in values), None):
            raise UserError(f"{file}: the column {name} holds {wrong}: expected 0 or 1")
        if "" in cells:
            raise UserError(f"{file}: the column {name} has an empty cell: expected 0 or 1")
        indicators[:, place] = [values[cell] for cell in cells]
    keys, classes = _named(columns, names, file)
    indicators = indicators[:, [columns.index(key) for key in keys]]
    if (indicators.sum(axis=1) == 1).all():
        return Labels(classes, indicators.argmax(axis=1))
    return Labels(classes, indicators)


def _named(known: list[str], names: Names, file: Path) -> tuple[list[str], tuple[str, ...]]:
    """The labels in the order of the classes, and the names of these."""
    if names is None:
        return known, tuple(known)
    if isinstance(names, Mapping):
        mapping = {str(key): str(name) for key, name in names.items()}
    elif all(word.isdecimal() for word in known):
        mapping = {str(number): str(name) for number, name in enumerate(names)}
    else:
        mapping = {str(name): str(name) for name in names}
    if unknown := [word for word in known if word not in mapping]:
        raise UserError(
            f"{file}: the label {unknown[0]} is not in dataset.classes: "
            f"{nearest(unknown[0], mapping)}"
        )
    return [*mapping], tuple(mapping.values())


def _order(word: str) -> tuple[bool, float, str]:
    """Numbers by their size, before words."""
    return (not word.isdecimal(), float(word) if word.isdecimal() else 0.0, word)
