"""What the batches of an epoch give, collected in one growing tensor.

Kept apart, the small tensors of thousands of batches would lie in the holes that larger ones leave,
and the memory of the process would grow by the size of all images.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Collected:
    """The rows (N, …) of all batches so far."""

    def __init__(self) -> None:
        self._rows = torch.empty(0)
        self._count = 0

    def add(self, rows: Tensor) -> None:
        """Copy the rows (B, …) of a batch behind the others."""
        end = self._count + len(rows)
        if not self._count:
            self._rows = torch.empty_like(rows)
        if end > len(self._rows):
            grown = rows.new_empty((2 * end, *rows.shape[1:]))
            grown[: self._count] = self._rows[: self._count]
            self._rows = grown
        self._rows[self._count : end] = rows
        self._count = end

    def take(self) -> Tensor:
        """Return all rows, and start anew."""
        rows = self._rows[: self._count]
        self._rows, self._count = torch.empty(0), 0
        return rows
