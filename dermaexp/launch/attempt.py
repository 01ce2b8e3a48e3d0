"""One attempt at a run: skipped where it finished before, resumed or started anew where not."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.conf import HydraConf
from hydra.utils import instantiate
from omegaconf import DictConfig

from dermaexp.core import lean_imports
from dermaexp.core.console import console, print_note, print_warning
from dermaexp.core.errors import UserError
from dermaexp.data.load import load_splits
from dermaexp.data.splits import Splits
from dermaexp.launch import beside, earlier, longer, resume
from dermaexp.launch.identity import effective, identity
from dermaexp.launch.initial_weights import initial_weights
from dermaexp.launch.record import recording
from dermaexp.report import html, waiting
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.identity import config_digest
from dermaexp.runs.provenance import components
from dermaexp.training.clock import Clock

if TYPE_CHECKING:
    from dermaexp.runs.record import RunRecord


@dataclass(frozen=True)
class Job:
    """The config of a run, Hydra's own, and where and how it runs."""

    config: DictConfig
    hydra: HydraConf
    directory: RunDirectory
    in_sweep: bool
    in_parallel: bool  # other jobs run beside it
    trained: bool = False  # by this command, together with its replicas: its test is left


def attempt(job: Job) -> float | None:
    """Run the job unless it finished before; returns the val macro AUROC in either case.

    None for a trial of a search that is pruned, or was before.
    """
    config, directory = job.config, job.directory
    before, asks_longer = earlier_attempt(job)
    trial = trial_of(job)
    if before:
        if is_finished(job, before) and not asks_longer:
            return _finished_before(job)
        if before["status"] == "pruned" and trial:
            console.print("pruned before: not run again")
            return None
        check_files_of_others(directory)
    clock = Clock()
    from dermaexp.launch import validate  # with pydantic, for which --cfg job should not wait

    other = beside.process_for(job)
    waits = waiting.figures_wait(directory.path) if other else contextlib.nullcontext()
    with recording(directory, before) as record, waits as figures:
        splits, resumed = prepare(job, record, before, clock, asks_longer=asks_longer)
        for line in validate.warnings(config):
            print_warning(line)
        if trial and _was_pruned(trial):
            record["pruned_after"] = len(directory.read_history()) if resumed else 0
        else:
            _run(job, splits, record, clock, trial, resumed=resumed)
        pruned = "pruned_after" in record
        if not pruned:
            from dermaexp.report.summary import conclude  # imports SciPy, as the report does

            conclude(record["name"], splits, directory.read_metrics())
    if other:
        other.finish(directory.path, figures or ())
    elif config.report:
        _write_report(directory)
    return None if pruned else _score(directory)


def earlier_attempt(job: Job) -> tuple[RunRecord | None, bool]:
    """Return run.json of an earlier attempt, if any, and whether other epochs are asked for now.

    UserError where the job must not touch what is in its folder.
    """
    config, directory = job.config, job.directory
    directory.check_unused()
    before = directory.read_earlier()
    if before is None:
        return None, False
    asks_longer = longer.is_asked(config, job.hydra.overrides.task, before)
    earlier.check_same_run(config, directory, before, in_sweep=job.in_sweep, longer=asks_longer)
    return before, asks_longer


def is_finished(job: Job, before: RunRecord) -> bool:
    """Whether the attempt `before` left all results that the config asks for."""
    wanted = bool(job.config.callbacks and job.config.callbacks.get("predictions"))
    return before["status"] == "finished" and job.directory.has_results(
        predictions=wanted, calibration=job.config.calibrate
    )


def prepare(
    job: Job, record: dict[str, Any], before: RunRecord | None, clock: Clock, *, asks_longer: bool
) -> tuple[Splits, bool]:
    """Check the config, load the data, and fill and write the `record` of a run that begins.

    Returns the splits, and whether the run is resumed from last.ckpt of the attempt `before`.
    """
    from dermaexp.launch import validate  # with pydantic, for which --cfg job should not wait

    config, directory = job.config, job.directory
    _describe(job, record, validate.GROUPS)
    validate.check(config)
    record["seed"] = config.seed
    record["config"] = effective(config)
    used = components(record["config"])
    record["versions"] |= used["versions"]
    record["own_code"] = used["own_code"]
    with clock.part("data"):
        splits = load_splits(config.dataset)
    for note in splits.notes:
        print_note(*note)
    if before:
        earlier.check_data(directory, before, splits.record)
    record["data"] = splits.record
    weights = initial_weights(config, before)
    if weights:
        record["initial_weights"] = weights
    record["config_digest"] = config_digest(identity(record["config"], splits.record, weights))
    resumed = False
    if before:
        was_longer = asks_longer or longer.was_asked(before)
        reason = earlier.reason_to_start_anew(directory, before, record, longer=was_longer)
        if reason:
            console.print(f"{reason}: it starts anew", soft_wrap=True)
            directory.clear(before.get("name", record["name"]))
        else:
            earlier.continue_record(record, before, longer=asks_longer, is_new=not job.trained)
            resumed = True
    directory.write_run(record)
    return splits, resumed


def _run(
    job: Job,
    splits: Splits,
    record: dict[str, Any],
    clock: Clock,
    trial: Mapping[str, Any] | None,
    *,
    resumed: bool,
) -> None:
    lean_imports.import_all(compiler=job.config.compile)
    from dermaexp.launch import gpus
    from dermaexp.training import experiment

    if job.in_parallel:
        trainer = job.config.trainer
        device = gpus.own_device(trainer.accelerator, trainer.devices, job.hydra.job.num)
        trainer.devices = device
    experiment.run(
        job.config,
        splits,
        job.directory,
        record,
        clock,
        resumed=resumed,
        folder=job.directory.path if job.hydra.job.chdir else None,
        trial=trial,
    )


def trial_of(job: Job) -> dict[str, Any] | None:
    """What describes the trial of a search with a pruner that the job runs for; None without."""
    if not (job.in_sweep and job.hydra.sweeper.get("trial")):
        return None
    from dermaexp.launch.search import reported_trial  # with Optuna, which only searches need

    return reported_trial.described(job.hydra, job.config)


def _was_pruned(trial: Mapping[str, Any]) -> bool:
    """Whether the trial was pruned with another seed or fold: this one need not be trained."""
    return instantiate(trial).was_pruned()


def _finished_before(job: Job) -> float:
    """Write the figures and the page if the page is missing; returns the score."""
    console.print("finished before: not run again")
    if job.config.report and not job.directory.has_report():
        from dermaexp.report.regenerate import regenerate  # imports SciPy

        for line in regenerate(job.directory):  # they are written shortly before the page
            print_warning(line)
        _write_report(job.directory)
    return _score(job.directory)


def _score(directory: RunDirectory) -> float:
    """Return the val macro AUROC; NaN where it is undefined."""
    score = directory.read_metrics()["val"]["macro_auroc"]
    return math.nan if score is None else score


def _describe(job: Job, record: dict[str, Any], groups: Sequence[str]) -> None:
    """Add to the record how the job was started."""
    record["name"] = str(job.config.name)
    record["start"] = resume.start_of(job.hydra)
    record["overrides"] = list(job.hydra.overrides.task)
    choices = job.hydra.runtime.choices
    named = (*groups, *(["experiment"] if choices.get("experiment") else []))
    record["choices"] = {group: choices.get(group) for group in named}


def check_files_of_others(directory: RunDirectory) -> None:
    """Raise UserError where the run would overwrite a page or a figure that is not its own."""
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
