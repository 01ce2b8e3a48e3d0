"""One run in several processes: who they are, where they meet and what they share."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.plugins.environments import LightningEnvironment
from torch import distributed

from dermaexp.training.lightning_internals import local_rank

READY = b"ready\n"  # printed by a process that can join the others


class OurProcesses(LightningEnvironment):
    """Reports to Lightning that the processes exist and which one this is."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank = rank

    @property
    def creates_processes_externally(self) -> bool:
        return True

    def local_rank(self) -> int:
        return self.rank

    def node_rank(self) -> int:
        return 0


@contextlib.contextmanager
def joined(trainer: Trainer, meeting: Path) -> Iterator[None]:
    """Wait for all processes at the file `meeting`, as others could take or reach a port."""
    rank = local_rank(trainer)
    if rank > 0:
        sys.stdout.buffer.write(READY)
        sys.stdout.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads the rest
    distributed.init_process_group(
        "nccl" if trainer.strategy.root_device.type == "cuda" else "gloo",
        init_method=meeting.as_uri(),
        rank=rank,
        world_size=trainer.world_size,
    )
    ended = False
    try:
        yield
        ended = True
    finally:
        # Another process that failed stays in the group until it has reported why. It then ends,
        # which makes the first one fail, too, and read the reason.
        if ended or rank == 0:
            distributed.destroy_process_group()


def threads_each(trainer: Trainer) -> int:
    """Return the number of threads for each process: the first one's, shared out."""
    return max(1, torch.get_num_threads() // trainer.world_size)


def gathered(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return, in every process, the arrays of all processes joined along their first axis.

    torchmetrics' CatMetric would make integers float32, and fails if a process has no sample.
    """
    if not distributed.is_initialized():
        return list(arrays)
    everyone: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(everyone, list(arrays))
    return [np.concatenate(parts) for parts in zip(*everyone, strict=True)]
