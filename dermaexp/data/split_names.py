"""What people call train, val and test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dermaexp.core.errors import UserError
from dermaexp.data.table_file import column_of

if TYPE_CHECKING:
    import pandas as pd

SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
_SPLITS = {name: split for split, names in SPLIT_NAMES.items() for name in names}


def split_of(name: str) -> str | None:
    """Return the split of that name, in any case; None for other names."""
    return _SPLITS.get(name.strip().casefold())


def splits_of(table: pd.DataFrame, column: str | None, file: Path) -> np.ndarray | None:
    """Return the split (N,) of each row, "" where the cell is empty; None without a column."""
    if column is None:
        return None
    cells = column_of(table, column, "split_column", file).tolist()
    if unknown := next((cell for cell in cells if cell and split_of(cell) is None), None):
        known = ", ".join(name for names in SPLIT_NAMES.values() for name in names)
        raise UserError(f"{file}: the split {unknown} is unknown: expected one of {known}")
    return np.array([split_of(cell) or "" for cell in cells])
