"""Which GPU a job trains on that runs beside others: each worker process takes one for itself."""

from __future__ import annotations

import getpass
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from filelock import FileLock, Timeout

GPU = ("auto", "gpu", "cuda")  # accelerators that take a GPU where there is one

_taken: dict[str, FileLock] = {}  # by this process, until it ends


def own_device(accelerator: str, devices: object, job: int) -> object:
    """`devices`, or where 1 of several GPUs is asked for, one that no other process has taken.

    With more processes than GPUs, job number `job` shares one with others.
    """
    gpus = visible_gpus() if accelerator in GPU and devices == 1 else []
    if len(gpus) < 2:
        return devices
    for index, gpu in enumerate(gpus):
        if gpu in _taken or _take(gpu):
            return [index]
    return [job % len(gpus)]


def visible_gpus() -> Sequence[str]:
    """The names of the GPUs that CUDA shows to this process, in its order."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return named.split(",")[:count] if named else [str(index) for index in range(count)]


def _take(gpu: str) -> bool:
    lock = FileLock(Path(tempfile.gettempdir()) / f"dermaexp-{getpass.getuser()}-gpu-{gpu}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    _taken[gpu] = lock
    return True
