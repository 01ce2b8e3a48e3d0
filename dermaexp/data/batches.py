"""Which images are in each batch of each process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler


class Batches(Sampler):
    """Index batches of one of `processes`, which together take every sample once an epoch.

    Each batch of `batch_size` samples is divided among the processes. The order depends only on
    the seed and the epoch: neither a restart nor the number of processes changes it. `weights`
    samples as many with replacement, with probabilities in proportion to the weights.
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
        """`samples` is their number or their indices; `seed` None keeps them in order."""
        self.indices = torch.arange(samples) if isinstance(samples, int) else samples
        self.samples = samples = len(self.indices)
        self.seed = seed
        self.weights = weights
        self.process = process
        self.processes = processes
        self.epoch = 0
        self.device = torch.device("cpu")  # of the indices: where the images are
        starts = list(range(0, samples, batch_size))
        # A last batch of one sample, or too small for all processes, joins the batch before it:
        # batch normalisation needs the variance of two samples, and every process needs a batch,
        # as the others wait for its gradients.
        if len(starts) > 1 and samples - starts[-1] < max(2, processes):
            starts.pop()
        self.bounds = list(zip(starts, [*starts[1:], samples], strict=True))

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.bounds)

    def weight(self, number: int) -> float:
        """This process's share of the samples of a batch; an equal share is 1."""
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
        shuffled = self.indices[order].to(self.device)
        for start, end in self.bounds:
            yield shuffled[start + self.process : end : self.processes]


class SeveralOrders(Sampler):
    """The batches of several orders of the same samples, one behind the other in each batch."""

    def __init__(self, orders: Sequence[Batches]) -> None:
        self.orders = orders

    def set_epoch(self, epoch: int) -> None:
        for order in self.orders:
            order.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.orders[0])

    def __iter__(self) -> Iterator[Tensor]:
        return map(torch.cat, zip(*self.orders, strict=True))


def mixed_seed(*numbers: int) -> int:
    """One seed from several numbers; (0, 1) and (1, 0) give unrelated seeds."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]) >> 1
