"""How a source's images are divided: the keys of `dataset` that say so, and their defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FOLDS = 5  # of a dataset whose config gives no number
SHARES = (0.7, 0.1, 0.2)  # of train, val and test
GROUP_COLUMN = "lesion_id"  # of a dataset whose config names no other


@dataclass(frozen=True)
class How:
    """The values of `dataset.split` and of the keys that belong to it."""

    split: str | None = None  # None: the source's own, or random where it has none
    folds: int = FOLDS
    fold: int = 0
    shares: Sequence[float] = SHARES
    split_seed: int = 0

    def only_for_random(self) -> str | None:
        """Return the key and value that only a random division takes, if one was given."""
        if tuple(self.shares) != SHARES:
            return f"shares={[*self.shares]}"
        return f"split_seed={self.split_seed}" if self.split_seed else None
