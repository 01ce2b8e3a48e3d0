"""One job of Hydra's: checked, recorded in run.json and the log, run. No torch before it runs."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import os
import threading
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from dermaexp.core.console import console, print_error, print_warning, quiet
from dermaexp.core.errors import UserError
from dermaexp.core.overrides import command
from dermaexp.data.load import load_splits
from dermaexp.launch import resume
from dermaexp.launch.config import data_record, effective, identity
from dermaexp.launch.explain import RunError, explain
from dermaexp.launch.follow import INTERVAL
from dermaexp.launch.record import recording
from dermaexp.report import html
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.identity import config_digest
from dermaexp.runs.locks import locked
from dermaexp.runs.provenance import components
from dermaexp.runs.record import RunRecord
from dermaexp.training.clock import Clock

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
        # Relative paths of every key mean the folder in which the command was given.
        there = contextlib.chdir(hydra_config.runtime.cwd)
        with locked(directory.path, wait=in_sweep), quiet(beside_others), there:
            score = _run_once(config, directory, hydra_config, beside_others=beside_others)
    except KeyboardInterrupt:
        if not beside_others:
            folder = Path(hydra_config.sweep.dir) if in_sweep else directory.path
            line = command(f"resume={folder.absolute()}")
            console.print(f"to resume: {line}", soft_wrap=True, markup=False)
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
    directory.check_unused()
    earlier = directory.read_earlier()
    if earlier:
        _check_same_run(config, directory, earlier, in_sweep=hydra_config.mode == RunMode.MULTIRUN)
        asked = bool(config.callbacks and config.callbacks.get("predictions"))
        if earlier["status"] == "finished" and directory.has_results(
            predictions=asked, calibration=config.calibrate
        ):
            console.print("finished before: not run again")
            if config.report and not directory.has_report():
                _write_report(directory)
            score = directory.read_metrics()["val"]["macro_auroc"]
            return math.nan if score is None else score
        _check_files_of_others(directory)
    clock = Clock()
    from dermaexp.launch import validate  # with pydantic, for which --cfg job should not wait

    with recording(directory, earlier) as record:
        record["name"] = str(config.name)
        record["start"] = resume.start_of(hydra_config)
        record["overrides"] = list(hydra_config.overrides.task)
        choices = hydra_config.runtime.choices
        named = (*validate.GROUPS, *(["experiment"] if choices.get("experiment") else []))
        record["choices"] = {group: choices.get(group) for group in named}
        validate.check(config)
        record["seed"] = config.seed
        record["config"] = effective(config)
        used = components(record["config"])
        record["versions"] |= used["versions"]
        record["own_code"] = used["own_code"]
        for line in validate.warnings(config):
            print_warning(line)
        with clock.part("data"):
            splits = load_splits(config.dataset)
        record["data"] = splits.record
        record["config_digest"] = config_digest(identity(record["config"], splits.record))
        goes_on = earlier is not None and resume.can_go_on(directory, earlier, record)
        if earlier and goes_on:
            resume.go_on(record, earlier)
        elif earlier:
            console.print("no checkpoint of this run to resume from: it starts anew")
            directory.clear(earlier.get("name", record["name"]))
        directory.write_run(record)
        from dermaexp.launch import gpus
        from dermaexp.training import experiment

        if beside_others:
            trainer = config.trainer
            device = gpus.own_device(trainer.accelerator, trainer.devices, hydra_config.job.num)
            trainer.devices = device
        score = experiment.run(
            config,
            splits,
            directory,
            record,
            clock,
            resumed=goes_on,
            folder=directory.path if hydra_config.job.chdir else None,
        )
        from dermaexp.report.summary import conclude  # with SciPy, as below

        conclude(record["name"], splits, directory.read_metrics())
    if config.report:
        _write_report(directory)
    return score


def _check_files_of_others(directory: RunDirectory) -> None:
    """Raise UserError where the run would write over a page or a figure that is not its own."""
    foreign = directory.foreign_figures()
    if directory.report.exists() and not html.is_ours(directory.report):
        foreign.append(directory.report)
    if foreign:
        raise UserError(
            f"{foreign[0]} was not written by dermaexp, and would be overwritten: nothing was "
            "written; move it away"
        )


def _write_report(directory: RunDirectory) -> None:
    from dermaexp.report.page import write_report

    write_report(directory)


def _check_same_run(
    config: DictConfig, directory: RunDirectory, earlier: RunRecord, *, in_sweep: bool
) -> None:
    """Raise UserError where the `earlier` run of `directory` is not to be touched by this one."""
    if not (in_sweep or config.resume):
        raise UserError(
            f"{directory.path} holds a run already: give another folder, or resume that run: "
            f"{command(f'resume={directory.path}')}"
        )
    if "config" not in earlier or "data" not in earlier:  # it failed early
        return
    own, other = (
        config_digest(identity(values, earlier["data"]))
        for values in (effective(config), earlier["config"])
    )
    # A changed file is another matter where it is resumed: the run starts anew.
    if own != other or (in_sweep and _other_data(config, earlier["data"])):
        raise UserError(
            f"{directory.path} holds a run of another config or of other data than those composed "
            "now: give another folder"
        )


def _other_data(config: DictConfig, earlier: Mapping[str, Any]) -> bool:
    """Whether the data can be loaded and are not those of the `earlier` record."""
    record = data_record(config)
    return record is not None and record["fingerprint"] != earlier["fingerprint"]


@functools.cache  # once a process
def end_with_parent() -> None:
    """End this process soon after the one that started it, also where that one was killed."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(INTERVAL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
