"""What a training knows of the search that it is a trial of."""

from __future__ import annotations

from typing import Protocol


class Trial(Protocol):
    """A trial of a search, which may end its training early."""

    def report(self, value: float, epoch: int) -> bool:
        """Store the val macro AUROC after `epoch`, from 1; return whether the trial is pruned."""
        ...
