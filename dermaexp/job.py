"""One job of Hydra's: checked, recorded in run.json and the log, run. No torch before it runs."""

from __future__ import annotations

import logging
import math
import shlex
import warnings
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from dermaexp import resume, settings
from dermaexp.clock import Clock
from dermaexp.console import console, print_error, quiet
from dermaexp.data.sources import load_splits
from dermaexp.errors import RunError, UserError, explain
from dermaexp.folders import locked
from dermaexp.results import RunDirectory, config_digest, recording
from dermaexp.watch import end_with_parent

log = logging.getLogger(__name__)
# conf/hydra/launcher/ adds to the plugins' own schemas, for which both must have the same name.
warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/\w+' is validated against")


def task(config: DictConfig) -> float:
    """What Hydra calls for each job; returns the val macro AUROC, for sweepers."""
    try:
        return run_job(config)
    except Exception as error:
        raise RunError(explain(error)) from error


def run_job(config: DictConfig) -> float:
    """Run the experiment in Hydra's output folder, or go on with what was left of it there.

    In a sweep a failure is told at once and gives NaN, so that the other jobs go on, unless
    sweep.stop_on_failure is set; a single run raises it.
    """
    hydra_config = HydraConfig.get()
    directory = RunDirectory(hydra_config.runtime.output_dir)
    in_sweep = hydra_config.mode == RunMode.MULTIRUN
    launcher = hydra_config.launcher._target_.rpartition(".")[2]
    beside_others = in_sweep and launcher != "BasicLauncher"
    if launcher == "JoblibLauncher" and in_sweep:
        end_with_parent()  # else a worker trains on when the sweep was killed
    # Frameworks warn of much that a user cannot change: it goes to the log, not to the terminal.
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a log that cannot be written must not hide the reason why
    if in_sweep:
        job = f"job {hydra_config.job.num}: {' '.join(hydra_config.overrides.task)}"
        console.print(job if beside_others else f"\n{job}", soft_wrap=True, markup=False)
    try:
        with locked(directory.path, wait=in_sweep), quiet(beside_others):
            score = _run_once(config, directory, hydra_config, beside_others=beside_others)
    except KeyboardInterrupt:
        if not beside_others:
            folder = hydra_config.sweep.dir if in_sweep else directory.path
            command = shlex.join(["python", "-m", "dermaexp", f"resume={folder}"])
            console.print(f"to go on: {command}", soft_wrap=True, markup=False)
        raise
    except Exception as error:
        log.exception("the run failed")
        if not in_sweep:
            raise
        line = f"job {hydra_config.job.num} failed: {explain(error)}"
        if config.sweep.stop_on_failure:
            raise UserError(
                f"{line}; sweep.stop_on_failure=true leaves the jobs after it"
            ) from None
        print_error(line)
        return math.nan
    if beside_others:
        console.print(f"job {hydra_config.job.num} finished: val macro AUROC {score:.4f}")
    else:
        console.print(f"run directory: {directory.path}", soft_wrap=True, markup=False)
    return score


def _run_once(
    config: DictConfig, directory: RunDirectory, hydra_config: DictConfig, *, beside_others: bool
) -> float:
    """Run it, unless it finished before; returns the score in either case."""
    earlier = directory.read_earlier()
    if earlier:
        _check_same_run(config, directory, earlier, in_sweep=hydra_config.mode == RunMode.MULTIRUN)
        asked = bool(config.callbacks and config.callbacks.get("predictions"))
        if earlier["status"] == "finished" and directory.has_results(
            predictions=asked, calibration=config.calibrate
        ):
            console.print("finished before: not run again")
            score = directory.read_metrics()["val"]["macro_auroc"]
            return math.nan if score is None else score
    clock = Clock()
    with recording(directory, earlier) as record:
        record["name"] = str(config.name)
        record["overrides"] = list(hydra_config.overrides.task)
        choices = hydra_config.runtime.choices
        named = (*settings.GROUPS, *(["experiment"] if choices.get("experiment") else []))
        record["choices"] = {group: choices.get(group) for group in named}
        settings.check(config)
        record["seed"] = config.seed
        record["config"] = settings.effective(config)
        record["config_digest"] = config_digest(record["config"])
        with clock.part("data"):
            splits = load_splits(config.dataset)
        record["data"] = splits.record
        goes_on = earlier is not None and resume.can_go_on(directory, earlier, record)
        if goes_on:
            resume.go_on(record, earlier)
        elif earlier or directory.checkpoints.is_dir():
            console.print("no checkpoint of this run to go on from: it starts anew")
            directory.clear()
        directory.write_run(record)
        from dermaexp import devices, experiment  # torch starts here

        if beside_others:
            trainer = config.trainer
            device = devices.own_device(trainer.accelerator, trainer.devices, hydra_config.job.num)
            trainer.devices = device
        score = experiment.run(config, splits, directory, record, clock, goes_on=goes_on)
    if config.report:
        from dermaexp.report import write_report  # with SciPy, which no mistyped key waits for

        write_report(directory)
    return score


def _check_same_run(
    config: DictConfig, directory: RunDirectory, earlier: dict[str, Any], *, in_sweep: bool
) -> None:
    """Raise UserError where the `earlier` run of `directory` is not to be touched by this one."""
    if not (in_sweep or config.resume):
        raise UserError(
            f"{directory.path} holds a run already: choose another folder, or go on with that run: "
            f"python -m dermaexp resume={directory.path}"
        )
    digest = config_digest(settings.effective(config))
    if earlier.get("config_digest", digest) != digest:  # one that failed early has none
        raise UserError(
            f"{directory.path} holds a run of other settings than those composed now: choose "
            "another folder"
        )
