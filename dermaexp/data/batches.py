"""Which images are in each batch of each process."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler


class Batches(Sampler):
    """Index batches of one process out of `processes`, together every sample exactly once an epoch.

    Each batch of `batch_size` samples is dealt out to the processes. The order depends on the seed
    and the epoch alone, so that neither a restart nor the number of processes changes it. With
    `weights` it is as many samples, each drawn with a chance in proportion to its weight.
    """

    def __init__(
        self,
        samples: int | Tensor,
        batch_size: int,
        *,
        seed: int | None = None,
        weights: Tensor | None = None,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        """`samples`: their number, or their indices. `seed` None keeps them in order."""
        self.indices = torch.arange(samples) if isinstance(samples, int) else samples
        self.samples = samples = len(self.indices)
        self.seed = seed
        self.weights = weights
        self.process = process
        self.processes = processes
        self.epoch = 0
        starts = list(range(0, samples, batch_size))
        # A last batch of one sample, or with too few for all processes, joins the one before it:
        # of one, batch normalisation knows no variance, and no process may be left without a batch
        # while the others wait for its gradients.
        if len(starts) > 1 and samples - starts[-1] < max(2, processes):
            starts.pop()
        self.bounds = list(zip(starts, [*starts[1:], samples], strict=True))

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.bounds)

    def weight(self, number: int) -> float:
        """This process's share of the samples of a batch, 1 being an equal one."""
        start, end = self.bounds[number]
        here = len(range(start + self.process, end, self.processes))
        return here * self.processes / (end - start)

    def __iter__(self) -> Iterator[Tensor]:
        order = torch.arange(self.samples)
        if self.seed is not None:
            generator = torch.Generator().manual_seed(mixed_seed(self.seed, self.epoch))
            if self.weights is None:
                order = torch.randperm(self.samples, generator=generator)
            else:
                order = self.weights.multinomial(self.samples, True, generator=generator)
        for start, end in self.bounds:
            yield self.indices[order[start:end][self.process :: self.processes]]


def mixed_seed(*numbers: int) -> int:
    """One seed of several numbers: that of (0, 1) has nothing to do with that of (1, 0)."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]) >> 1
