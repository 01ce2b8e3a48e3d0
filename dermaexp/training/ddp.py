"""Starts the processes of one run on one machine, as in `trainer=ddp trainer.devices=2`.

Lightning repeats the command line to start them, which a sweep's job does not have. Here each
process reads the composed config from its standard input.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.strategies import DDPStrategy

from dermaexp.core.errors import UserError
from dermaexp.core.overrides import escaped
from dermaexp.training.distributed import READY, joined, threads_each

REASON = "failed: "  # begins the line of a process's log with the reason
FINISHED = 64  # exit code of a process whose run is over, as os._exit(0) would give 0
GRACE = 3.0  # seconds to wait for a process that failed to end
LOOPBACK = "lo"  # Linux's name; elsewhere gloo finds an interface itself


class PlainSigterm(Callback):
    """Keeps the handler of SIGTERM, or handles it as Ctrl-C, in a run of several processes.

    Lightning's handler talks to the other processes, which hangs if this one is talking already.
    """

    def __init__(self) -> None:
        handler = signal.getsignal(signal.SIGTERM)
        default = handler in (None, signal.SIG_DFL)
        self.handler = signal.default_int_handler if default else handler

    def _set(self, trainer: Trainer) -> None:
        if trainer.world_size > 1:
            signal.signal(signal.SIGTERM, self.handler)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._set(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._set(trainer)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._set(trainer)


def check(trainer: Trainer, given: DictConfig) -> None:
    """Raise UserError where the keys `given` to `trainer` do not work with several processes."""
    strategy = given.get("strategy", "auto")
    if trainer.num_nodes > 1:
        raise UserError(f"trainer.num_nodes={trainer.num_nodes} is not supported: expected 1")
    ours = isinstance(trainer.strategy, DDPStrategy) and not re.search(
        "spawn|fork|notebook", strategy
    )
    if trainer.world_size > 1 and not ours:
        raise UserError(
            f"trainer.strategy={strategy} is not supported with several devices: give trainer=ddp"
        )
    on_gpus = trainer.strategy.root_device.type == "cuda"
    if trainer.world_size > 1 and given.get("sync_batchnorm") and not on_gpus:
        raise UserError(
            "trainer.sync_batchnorm=true works between GPUs only: give trainer.sync_batchnorm=false"
        )


@contextlib.contextmanager
def others(trainer: Trainer, config: DictConfig, job: Mapping[str, Any]) -> Iterator[None]:
    """Start the other processes of `trainer`, and wait for them at the end.

    Each runs `worker.main` with the config and `job`. Raises UserError with the reason of the one
    that failed.
    """
    processes = trainer.world_size
    if processes == 1:
        yield
        return
    threads, share = torch.get_num_threads(), threads_each(trainer)
    with tempfile.TemporaryDirectory() as folder, _loopback():
        meeting = Path(folder) / "meeting"
        config = escaped(OmegaConf.to_container(config, resolve=True))
        common = {**job, "config": config, "meeting": str(meeting)}
        logs = [Path(folder) / f"{rank}.log" for rank in range(1, processes)]
        started = [_start({**common, "rank": r}, share, log) for r, log in enumerate(logs, 1)]
        ended = _in_order_of_their_end(started)
        try:
            for process, log in zip(started, logs, strict=True):
                if READY not in cast(IO[bytes], process.stdout):
                    raise _reason(process, log)
            torch.set_num_threads(share)
            with joined(trainer, meeting):
                try:
                    yield
                except UserError:
                    raise
                except Exception as error:
                    # Ask before this process leaves the group, which makes the others fail, too.
                    with contextlib.suppress(queue.Empty):
                        while (first := ended.get(timeout=GRACE)).returncode == FINISHED:
                            pass
                        raise _reason(first, logs[started.index(first)]) from error
                    raise
            for process, log in zip(started, logs, strict=True):
                if process.wait() != FINISHED:
                    raise _reason(process, log)
        finally:
            torch.set_num_threads(threads)
            for process in started:
                process.kill()
                process.communicate()


def _start(job: Mapping[str, Any], threads: int, log: Path) -> subprocess.Popen:
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "dermaexp.training.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            process_group=0,  # Ctrl-C is for the first process
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
    with contextlib.suppress(BrokenPipeError):  # it has ended; its log has the reason
        stdin = cast(IO[bytes], process.stdin)
        stdin.write(json.dumps(job).encode() + b"\n")
        stdin.flush()
    return process


def _in_order_of_their_end(processes: Sequence[subprocess.Popen]) -> queue.Queue:
    """Return a queue that gets each process when it ends.

    The first to end is the one that failed by itself.
    """
    ended: queue.Queue = queue.Queue()

    def wait(process: subprocess.Popen) -> None:
        process.wait()
        ended.put(process)

    for process in processes:
        threading.Thread(target=wait, args=[process], daemon=True).start()
    return ended


def _reason(process: subprocess.Popen, log: Path) -> UserError:
    """Return the reason that the process reported, or how it ended."""
    code = process.wait()
    lines = log.read_text(errors="replace").rstrip().splitlines()
    for line in reversed(lines):
        if line.startswith(REASON):
            return UserError(line.removeprefix(REASON))
    if code < 0:
        how = f"was killed by {signal.Signals(-code).name}: is there enough memory?"
    else:
        traceback = f": {lines[-1]}" if code == 1 and lines else ""
        how = f"ended with code {code} before the run did{traceback}"
    return UserError(f"process {log.stem} of this run, counted from 0, {how}")


@contextlib.contextmanager
def _loopback() -> Iterator[None]:
    """Restrict gloo to this machine's loopback."""
    name = "GLOO_SOCKET_IFNAME"
    there = name not in os.environ and LOOPBACK in (n for _, n in socket.if_nameindex())
    if there:
        os.environ[name] = LOOPBACK
    try:
        yield
    finally:
        if there:
            del os.environ[name]
