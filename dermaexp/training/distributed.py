"""One run in several processes: where they meet, what they agree on and what they share.

Process 0, or the command that starts all of them, announces a job; they join for it, and report to
each other why one failed.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import signal
import socket
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pytorch_lightning import Trainer
from torch import distributed
from torch.distributed import FileStore, PrefixStore, Store, TCPStore

from dermaexp.core import processes
from dermaexp.core.errors import UserError, line_of
from dermaexp.training.cluster import environment

GRACE = 3.0  # seconds in which a process that failed has reported why
FAREWELL = 10.0  # seconds in which all processes have read that the command is over
PAUSE, LONGEST_PAUSE = 0.01, 0.5  # seconds between two looks at the store
FAILED = "failed"  # in the place of "ready"
INTERFACE = "GLOO_SOCKET_IFNAME"
LOOPBACK = "lo"  # Linux's name; elsewhere gloo finds an interface itself
LOST = re.compile("gloo|nccl", re.IGNORECASE)  # in the error of a connection that has ended


class ElsewhereError(Exception):
    """The traceback of another process, for the log."""


@functools.cache  # for all jobs of a sweep
def meeting() -> Store:
    """Return what all processes of this command read and write."""
    if processes.by_us():
        return FileStore(os.environ[processes.MEETING], processes.count())
    place = environment()
    store = TCPStore(
        place.main_address, place.main_port, is_master=_serves(), wait_for_workers=False
    )
    # All of torchrun's attempts have the same store.
    return PrefixStore(f"dermaexp/{os.environ.get('TORCHELASTIC_RESTART_COUNT')}", store)


def announce(store: Store, job: Mapping[str, Any]) -> None:
    """Give the next job to all processes; one with an "exit code" ends them."""
    store.set(f"job/{store.add('jobs', 1)}", json.dumps(job))


def announced(store: Store, number: int) -> dict[str, Any]:
    """Wait for job `number`, from 1, and return it."""
    return json.loads(_awaited(store, f"job/{number}"))


def release(code: int) -> None:
    """End the other processes with this exit code."""
    store = meeting()
    announce(store, {"exit code": code})
    if _serves():
        for other in range(1, processes.count()):
            _awaited(store, f"left/{other}", FAREWELL)


def leave() -> None:
    """Say that this process reads nothing any more."""
    meeting().set(f"left/{processes.rank()}", "")


@contextlib.contextmanager
def together(trainer: Trainer, job: Mapping[str, Any]) -> Iterator[None]:
    """Run what is inside in all processes of `trainer`, which form a group meanwhile.

    Process 0 announces the `job` to the others, unless `elastic.launch` has.
    """
    if trainer.world_size == 1:
        yield
        return
    if processes.rank() == 0 and not processes.by_us():
        announce(meeting(), job)
    with failures_shared(), _joined(trainer):
        yield


@contextlib.contextmanager
def failures_shared() -> Iterator[None]:
    """Report an error to the other processes; raise theirs where it caused the one inside."""
    try:
        yield
    except Exception as error:
        if isinstance(error, RuntimeError):  # such as of a connection that another one has left
            if not processes.by_us() and processes.rank() == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's, as another one ended
            if first := first_failure(meeting(), GRACE):
                raise first from first.__cause__
            if LOST.search(str(error)):
                raise UserError(
                    "another process of this run ended without giving a reason: is there enough "
                    "memory?"
                ) from error
        _report(error)
        raise


def first_failure(store: Store, timeout: float = 0) -> UserError | None:
    """Return what the first process to fail in this job reported, at most `timeout` seconds later.

    The traceback is its cause, for the log.
    """
    reported = _awaited(store, f"failure/{_job(store)}", timeout)
    if reported is None:
        return None
    line, trace = json.loads(reported)
    error = UserError(line)
    error.__cause__ = ElsewhereError(trace)
    return error


@contextlib.contextmanager
def _joined(trainer: Trainer) -> Iterator[None]:
    """Form the process group of this job, once all processes are ready for it.

    Raises UserError with the reason of one that is not.
    """
    store, job = meeting(), _job(meeting())
    store.set(f"ready/{job}/{processes.rank()}", "")
    for other in range(trainer.world_size):
        if _awaited(store, f"ready/{job}/{other}") == FAILED and (first := first_failure(store)):
            raise first
    with processes.variables(_loopback() if trainer.num_nodes == 1 else {}):
        distributed.init_process_group(
            "nccl" if trainer.strategy.root_device.type == "cuda" else "gloo",
            store=PrefixStore(f"group/{job}", store),
            rank=processes.rank(),
            world_size=trainer.world_size,
        )
        try:
            yield
        finally:
            distributed.destroy_process_group()


def gathered(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return, in every process, the arrays of all processes joined along their first axis.

    torchmetrics' CatMetric would make integers float32, and fails if a process has no sample.
    """
    if not distributed.is_initialized():
        return list(arrays)
    everyone: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(everyone, list(arrays))
    return [np.concatenate(parts) for parts in zip(*everyone, strict=True)]


def _serves() -> bool:
    """Whether the meeting ends with this process; else torchrun's agent or a file keeps it."""
    kept = processes.by_us() or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return processes.rank() == 0 and not kept


def _report(error: Exception) -> None:
    store = meeting()
    trace = "".join(traceback.format_exception(error))
    failure = json.dumps([line_of(error), trace])
    store.compare_set(f"failure/{_job(store)}", "", failure)  # the first one caused the others
    store.set(f"ready/{_job(store)}/{processes.rank()}", FAILED)


def _job(store: Store) -> int:
    """Return the number of the job that was announced last."""
    return store.add("jobs", 0)


def _awaited(store: Store, key: str, timeout: float = float("inf")) -> Any:
    """Return the value of `key` once it is there; None after `timeout` seconds.

    The store's own waiting would keep signals waiting, too.
    """
    pause, end = PAUSE, time.monotonic() + timeout
    while not store.check([key]):
        if time.monotonic() > end:
            return None
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    return store.get(key).decode()


def _loopback() -> dict[str, str]:
    """Return what restricts gloo to this machine, unless the user says otherwise."""
    there = LOOPBACK in (name for _, name in socket.if_nameindex())
    return {INTERFACE: LOOPBACK} if there and INTERFACE not in os.environ else {}
