"""The GPU of a job in a parallel sweep: each worker process reserves one."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from platformdirs import user_cache_path

GPU = ("auto", "gpu", "cuda")  # accelerators that take a GPU where there is one

_taken: dict[str, FileLock] = {}  # GPUs that this process keeps until it ends


def own_device(accelerator: str, devices: object, job: int) -> object:
    """`devices`, or one GPU that no other process has taken if 1 of several GPUs is asked for.

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
    """Reserve the GPU for this process; returns whether it was free."""
    try:
        folder = _locks()
        # A home folder may be shared by machines, each with a GPU 0 of its own.
        lock = FileLock(folder / f"{platform.node()}-gpu-{gpu}.lock")
        lock.acquire(timeout=0)
    except (Timeout, OSError, RuntimeError):  # RuntimeError: a user without a home folder
        return False
    _taken[gpu] = lock
    return True


def _locks() -> Path:
    """The folder of the locks, in the user's cache: nobody else can put a file or a link there.

    Raises OSError if it cannot be created or belongs to another user.
    """
    folder = user_cache_path("dermaexp") / "locks"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user")
    return folder
