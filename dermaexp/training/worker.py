"""The processes of a run that take part in the jobs which are announced to them."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from dermaexp.core import lean_imports, processes
from dermaexp.core.console import console
from dermaexp.core.errors import UserError


def follow() -> int:
    """Take part in each job that process 0 announces; return the exit code when it ends.

    Process 0 reports why a job failed; the next one may still be run.
    """
    processes.end_with_parent()
    console.quiet = True
    logging.captureWarnings(True)
    lean_imports.import_lightning()
    from torch.distributed import DistNetworkError

    from dermaexp.training import distributed

    number = 1
    try:
        while "exit code" not in (job := distributed.announced(distributed.meeting(), number)):
            with contextlib.suppress(Exception):
                _take_part(job)
            number += 1
        distributed.leave()
    except DistNetworkError:  # process 0 was killed
        return 1
    return job["exit code"]


def main() -> None:
    """Take part in the job of the command that started this process by `elastic.launch`."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # that command decides, and ends this process
    processes.end_with_parent()
    lean_imports.import_lightning()
    from dermaexp.training import distributed

    job = distributed.announced(distributed.meeting(), 1)
    console.quiet = job["quiet"] or processes.rank() > 0
    if processes.rank() == 0 and job["log"]:
        logging.captureWarnings(True)
        logging.basicConfig(**job["log"])
    try:
        _take_part(job)
    except BaseException:
        os._exit(1)  # at once: the reason is reported


def _take_part(job: Mapping[str, Any]) -> None:
    from dermaexp.data.load import load_splits
    from dermaexp.runs.directory import RunDirectory
    from dermaexp.training import distributed, experiment
    from dermaexp.training.clock import Clock

    with distributed.failures_shared():
        config = OmegaConf.create(job["config"])
        clock = Clock()
        with clock.part("data"):
            splits = load_splits(config.dataset)
        if splits.fingerprint != job["record"]["data"]["fingerprint"]:
            raise UserError(
                f"process {processes.rank()} of this run, counted from 0, loaded other data than "
                "process 0: give all of them the same"
            )
        experiment.run(
            config,
            splits,
            RunDirectory(Path(job["directory"])),
            job["record"],
            clock,
            resumed=job["resumed"],
            folder=job["folder"] and Path(job["folder"]),
            trial=job["trial"],
        )


if __name__ == "__main__":
    main()
