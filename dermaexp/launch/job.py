"""One of Hydra's jobs: what it prints, what its failure does to a sweep. Imports no torch."""

from __future__ import annotations

import contextlib
import logging
import math
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from dermaexp.core.console import console, print_error, quiet
from dermaexp.core.errors import UserError
from dermaexp.core.processes import end_with_parent
from dermaexp.launch.explain import RunError, explain
from dermaexp.launch.framework_errors import ignore_schema_warning
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.locks import locked

log = logging.getLogger(__name__)
ignore_schema_warning()  # here, as workers of a launcher import this module, then compose configs


def task(config: DictConfig, *, trained: bool = False) -> float:
    """Run a job, as Hydra calls it; returns the val macro AUROC, for sweepers."""
    try:
        return run_job(config, trained=trained)
    except Exception as error:
        raise RunError(explain(error)) from error


def run_job(config: DictConfig, *, trained: bool = False) -> float:
    """Run the experiment in Hydra's output folder, or resume the run that is there.

    In a sweep a failure is printed at once and gives NaN, so that the other jobs still run, unless
    sweep.stop_on_failure is set; a single run raises it. A run that its search prunes gives NaN.
    `trained` says that this command trained the run before, together with its replicas.
    """
    from dermaexp.launch.attempt import Job, attempt  # with NumPy, which --cfg job does not need

    hydra = HydraConfig.get()
    directory = RunDirectory(Path(hydra.runtime.output_dir))
    in_sweep = hydra.mode == RunMode.MULTIRUN
    launcher = hydra.launcher._target_.rpartition(".")[2]
    in_parallel = in_sweep and launcher != "BasicLauncher"
    if launcher.endswith("JoblibLauncher") and in_sweep:
        end_with_parent()  # else a worker trains on after the sweep was killed
    # Frameworks warn of much that a user cannot change: it goes to the log, not to the terminal.
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a log that cannot be written must not hide the reason why
    if in_sweep:
        line = f"job {hydra.job.num}: {' '.join(hydra.overrides.task)}"
        console.print(line if in_parallel else f"\n{line}", soft_wrap=True, markup=False)
    try:
        # Relative paths of every key mean the folder in which the command was given.
        there = contextlib.chdir(hydra.runtime.cwd)
        with locked(directory.path, wait=in_sweep), quiet(in_parallel), there:
            score = attempt(Job(config, hydra, directory, in_sweep, in_parallel, trained))
    except Exception as error:
        log.exception("the run failed")
        if not in_sweep:
            raise
        line = f"job {hydra.job.num} failed: {explain(error)}"
        if config.sweep.stop_on_failure:
            raise UserError(
                f"{line}; sweep.stop_on_failure=true leaves the jobs after it"
            ) from None
        print_error(line)
        return math.nan
    if score is None:
        epoch = directory.read_run()["pruned_after"]
        console.print(f"job {hydra.job.num} pruned after epoch {epoch}")
    elif in_parallel:
        console.print(f"job {hydra.job.num} finished: val macro AUROC {score:.4f}")
    if not in_parallel:
        console.print(f"run directory: {directory.path}", soft_wrap=True, markup=False)
    return math.nan if score is None else score
