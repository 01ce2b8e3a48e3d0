"""The processes of one run: who started this one, which one it is, when it ends. No torch."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from collections.abc import Iterator, Mapping

MEETING = "DERMAEXP_MEETING"  # the file where the processes that we start ourselves meet
INTERACTIVE = ("bash", "interactive")  # Slurm's job names in which nothing is started by srun
INTERVAL = 1.0  # seconds


def by_us() -> bool:
    """Whether `training.elastic` started this process."""
    return MEETING in os.environ


def by_torch() -> bool:
    """Whether torch's elastic agent started this process, torchrun's or ours."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def by_slurm() -> bool:
    """Whether this process is one of several tasks of a Slurm job."""
    several = int(os.environ.get("SLURM_NTASKS", "1")) > 1 and "SLURM_PROCID" in os.environ
    return several and not by_torch() and os.environ.get("SLURM_JOB_NAME") not in INTERACTIVE


def are_launched() -> bool:
    """Whether the processes of the run exist already: this is one of them."""
    return by_torch() or by_slurm()


def rank() -> int:
    """Return the number of this process among all of the run; 0 alone writes and prints."""
    return int(os.environ["RANK" if by_torch() else "SLURM_PROCID"]) if are_launched() else 0


def count() -> int:
    """Return the number of the processes that exist."""
    return int(os.environ["WORLD_SIZE" if by_torch() else "SLURM_NTASKS"]) if are_launched() else 1


@contextlib.contextmanager
def variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, which processes that start meanwhile inherit."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value


@functools.cache  # once a process
def end_with_parent() -> None:
    """End this process soon after the process that started it, even if that one is killed."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(INTERVAL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
