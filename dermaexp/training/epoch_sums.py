"""Loss and accuracy of an epoch's training batches, read from the device once in many steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dermaexp.training.distributed import gathered

READ_EVERY = 100  # batches; each read waits for the device


class EpochSums:
    """Sums over the training images of an epoch.

    A value of a step stays on the device until `read`, as reading it would let the device wait for
    the next step.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin an epoch."""
        self.batches = 0
        self.images = 0
        self.diverged_in: int | None = None  # the first batch whose loss is not finite, from 1
        self._loss = 0.0
        self._correct = 0
        self._answers = 0  # labels in all, of which an image may have several
        self._sizes: list[int] = []
        self._unread: list[tuple[Tensor, Tensor]] = []

    def add(self, loss: Tensor, correct: Tensor, shape: Sequence[int]) -> None:
        """Add a batch: its mean loss, and how many of its answers, (N,) or (N, L), are correct."""
        self._unread.append((loss.detach(), correct))
        self._sizes.append(shape[0])
        self._answers += math.prod(shape)
        if len(self._unread) == READ_EVERY:
            self.read()

    def read(self) -> None:
        """Read the batches that were added since the last time."""
        if not self._unread:
            return
        losses, correct = (torch.stack(parts).tolist() for parts in zip(*self._unread, strict=True))
        for number, loss in enumerate(losses, start=self.batches + 1):
            if self.diverged_in is None and not math.isfinite(loss):
                self.diverged_in = number
        self._loss += sum(size * loss for size, loss in zip(self._sizes, losses, strict=True))
        self._correct += sum(correct)
        self.images += sum(self._sizes)
        self.batches += len(losses)
        self._sizes.clear()
        self._unread.clear()

    def means(self) -> tuple[float, float, int]:
        """Return the mean loss, the accuracy and the number of images, over all processes."""
        self.read()
        own = np.array([[self._loss, self._correct, self._answers, self.images]])
        loss, correct, answers, images = gathered([own])[0].sum(axis=0).tolist()
        return loss / images, correct / answers, int(images)
