"""Starts the processes of one run on one machine, as in `trainer=ddp trainer.devices=2`.

torch's elastic agent starts and watches them. Lightning would repeat the command line instead,
which a sweep's job does not have.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.distributed import FileStore
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from dermaexp.core import processes
from dermaexp.core.console import console
from dermaexp.core.errors import UserError
from dermaexp.training.distributed import announce, first_failure

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)  # end all processes


def launch(job: Mapping[str, Any], count: int) -> None:
    """Run `worker.main` with the job in `count` processes and wait for them.

    Raises UserError with the reason of the first that failed, KeyboardInterrupt after a signal;
    no process is left.
    """
    with tempfile.TemporaryDirectory() as folder, _quiet_agent():
        meeting = f"{folder}/meeting"
        store = FileStore(meeting, count + 1)
        announce(store, {**job, "quiet": console.quiet, "log": _log_file()})
        names = ",".join(number.name for number in SIGNALS)
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id="dermaexp",
            # Files in our own folder, as others could take or reach a port.
            rdzv_backend="c10d",
            rdzv_endpoint=f"{folder}/agent",
            rdzv_configs={"store_type": "file"},
            local_addr="127.0.0.1",
            max_restarts=0,
            signals_to_handle=names,
            logs_specs=DefaultLogsSpecs(
                log_dir=folder, redirects=dict.fromkeys(range(1, count), Std.ALL)
            ),
        )
        variables = {  # for all processes
            processes.MEETING: meeting,
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",  # it would listen on all interfaces
            "TORCHELASTIC_SIGNALS_TO_HANDLE": names,  # the agent would leave it there
            "OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // count)),
        }
        try:
            with processes.variables(variables):
                elastic_launch(config, sys.executable)("-m", "dermaexp.training.worker")
        except SignalException:
            raise KeyboardInterrupt from None
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            raise first_failure(store) or UserError(
                f"process {rank} of this run, counted from 0, {_end(failure)}"
            ) from None


def _log_file() -> dict[str, Any] | None:
    """Where this process logs, for logging.basicConfig in process 0."""
    root = logging.getLogger()
    for handler in root.handlers:
        if isinstance(handler, logging.FileHandler) and handler.formatter:
            form = handler.formatter._fmt
            return {"filename": handler.baseFilename, "format": form, "level": root.level}
    return None


def _end(failure: ProcessFailure) -> str:
    """How a process ended that gave no reason."""
    if failure.exitcode < 0:
        name = signal.Signals(-failure.exitcode).name
        return f"was killed by {name}: is there enough memory?"
    return f"ended with code {failure.exitcode} before the run did"


@contextlib.contextmanager
def _quiet_agent() -> Iterator[None]:
    """Keep the agent's own lines off the terminal, and put back what it does to signals."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    logger, nowhere = logging.getLogger("torch.distributed.elastic"), logging.NullHandler()
    logger.propagate = False
    logger.addHandler(nowhere)
    try:
        yield
    finally:
        logger.removeHandler(nowhere)
        logger.propagate = True
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)
