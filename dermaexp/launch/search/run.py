"""The trials of a search, run by Hydra's launcher; the best of them in the end."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState

from dermaexp.compare.search import ran_in
from dermaexp.core.console import console
from dermaexp.core.containers import to_dict
from dermaexp.core.errors import UserError
from dermaexp.core.files import write_bytes
from dermaexp.core.overrides import command
from dermaexp.core.text import counted
from dermaexp.launch.search import pruner as pruning
from dermaexp.launch.search.best_trial import BestTrial
from dermaexp.launch.search.composer import Composer
from dermaexp.launch.search.database import KEY, Database, own_database, shared_database
from dermaexp.launch.search.plan import Plan, planned
from dermaexp.launch.search.record import write_search
from dermaexp.launch.search.reported_trial import override
from dermaexp.launch.search.space import as_overrides
from dermaexp.launch.search.study import GRACE, Limits, Trials, attempts, runs_of
from dermaexp.runs.directory import RunDirectory


def search(
    limits: Limits,
    space: Mapping[str, Any],
    storage: str | None,
    pruner: str,
    composer: Composer,
    launcher: Launcher,
    arguments: Sequence[str],
) -> None:
    """Run what is missing of the search's trials; maximises the val macro AUROC.

    First come the trials that were running when an earlier start of the search ended, then another
    attempt at each that failed, max_retry times at most, then new ones up to n_trials, of all
    searches that share the `storage`. The `pruner`, one of pruner.WORDS, ends some of them early.
    Raises UserError for what cannot be searched, before anything is written or run, and in the end
    if all trials failed.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = Path(composer.search.hydra.sweep.dir)
    database = _database(storage, folder, composer)
    pruning.check(pruner, ())
    plan = planned(composer, space, arguments)
    pruning.check(pruner, plan.space)
    prunes = pruner != pruning.NONE
    best = BestTrial(composer, plan)
    with database.errors_as_one_line():
        trials = Trials(database, plan, limits)
        if database.shared and (others := trials.all(TrialState.RUNNING)):
            _print(
                f"{counted('trial', [trial.number for trial in others])} of other searches: tried "
                f"again after {GRACE} s without a sign of life"
            )
        write_bytes(folder / "multirun.yaml", OmegaConf.to_yaml(composer.search).encode())
        while batch := trials.batch():
            _run(batch, trials, plan, launcher, folder, prunes=prunes)
            best.update(trials.study)
        best.update(trials.study)
        write_search(folder, trials.study, plan)
        _print_end(trials, folder, best, limits.max_retry)


def _database(storage: str | None, folder: Path, composer: Composer) -> Database:
    """The database of the search's study; UserError for a `storage` that cannot be used."""
    if storage is None:
        return own_database(folder)
    given = any(one.startswith("name=") for one in composer.search.hydra.overrides.task)
    if not given and OmegaConf.is_interpolation(composer.search, "name"):  # the model's
        raise UserError(
            f"{KEY} holds the studies of many searches: give name=NAME, by which all machines find "
            "this one"
        )
    database = shared_database(storage, str(composer.search.name))
    if database.has_password and to_dict(composer.search.hydra.sweeper)["storage"] == storage:
        raise UserError(
            f"{KEY} in a config file holds a password, which every job would record: expected it "
            "in PGPASSWORD or ~/.pgpass, or the URL as ${oc.env:NAME}"
        )
    return database


def _run(
    batch: Sequence[FrozenTrial],
    trials: Trials,
    plan: Plan,
    launcher: Launcher,
    folder: Path,
    *,
    prunes: bool,
) -> None:
    """Run the jobs of all trials in the batch, and store what comes of them."""
    repeats = len(plan.repeats)
    if repeats > 1:
        for trial in batch:
            _print(f"\ntrial {trial.number}: {' '.join(as_overrides(trial.params))}")
    jobs = [job for trial in batch for job in _jobs(trial, plan, prunes=prunes)]
    # Trials end in the order of their numbers, so that those of a batch have no gaps.
    with trials.beating(batch):
        results = list(launcher.launch(jobs, initial_job_idx=batch[0].number * repeats))
    for trial in batch:
        own, results = results[:repeats], results[repeats:]
        _store(trial, own, trials, plan, folder, prunes=prunes)


def _jobs(trial: FrozenTrial, plan: Plan, *, prunes: bool) -> list[list[str]]:
    """The overrides of a trial's jobs; the first one reports to a pruner, if there is one."""
    jobs = plan.jobs(trial.params)
    if not prunes:
        return jobs
    return [[*job, override(trial.number, decides=index == 0)] for index, job in enumerate(jobs)]


def _store(
    trial: FrozenTrial,
    results: Sequence[JobReturn],
    trials: Trials,
    plan: Plan,
    folder: Path,
    *,
    prunes: bool,
) -> None:
    """Store a trial's score, the mean of its jobs'; a pruned or failed one has none."""
    scores = [result.return_value for result in results]
    runs = [_folder(result, folder) for result in results]
    score = fmean(scores)
    pruned = prunes and any(_was_pruned(folder / run) for run in runs)
    failed = math.isnan(score) and not pruned
    reported = _history(folder / runs[0]) if prunes else {}
    stored = None if math.isnan(score) else score
    if not trials.end(trial, stored, runs, pruned=pruned, reported=reported):
        line = "its heartbeats did not reach the database, and another search tries it again"
        _print(f"trial {trial.number} does not count: {line}")
    elif failed:
        jobs = zip(plan.repeats, scores, strict=True)
        where = ", ".join(" ".join(repeat) for repeat, one in jobs if math.isnan(one))
        _print(f"trial {trial.number} failed: no val macro AUROC{where and f' with {where}'}")
    elif len(scores) > 1 and not pruned:
        _print(f"trial {trial.number}: val macro AUROC {score:.4f}, the mean over {plan.places}")


def _was_pruned(run: Path) -> bool:
    try:
        return RunDirectory(run).read_run()["status"] == "pruned"
    except (OSError, ValueError, UserError):  # a lost job may have left nothing
        return False


def _history(run: Path) -> dict[int, float]:
    """The val macro AUROC after each epoch; empty where the run left no history."""
    try:
        rows = RunDirectory(run).read_history()
    except (OSError, ValueError):
        return {}
    return {int(row["epoch"]): row["val_macro_auroc"] for row in rows}


def _folder(job: JobReturn, sweep: Path) -> str:
    """The job's folder, relative to the sweep's."""
    assert job.hydra_cfg, "Hydra sets it"
    return os.path.relpath(job.hydra_cfg.hydra.runtime.output_dir, sweep)


def _print_end(trials: Trials, folder: Path, best: BestTrial, max_retry: int) -> None:
    """Print the best trial with its command and the number that failed; UserError if all did."""
    done, running = trials.all(TrialState.COMPLETE), trials.all(TrialState.RUNNING)
    failed, pruned = trials.failed(), trials.all(TrialState.PRUNED)
    again = sum(len(attempts(trial)) < max_retry for trial in failed)
    hint = f", of which the next start tries {again} again" if again else ""
    if not done and not running:
        others = f", and {len(pruned)} were pruned" if pruned else ""
        raise UserError(f"all trials of {folder} failed: {len(failed)}{hint}{others}")
    if done:
        first = trials.study.best_trial
        where = "" if ran_in(folder, runs_of(first)) else ", which ran elsewhere,"
        _print(
            f"\nbest of {len(done)} trials: val macro AUROC {first.value:.4f} of trial "
            f"{first.number}{where} with {' '.join(as_overrides(first.params))}"
        )
    if pruned:
        line = command("resume=RUN_DIR")
        _print(f"pruned trials: {len(pruned)} (to train one to its end: {line})")
    if failed:
        _print(f"failed trials: {len(failed)}{hint}")
    if running:
        _print(f"trials that other searches still run: {len(running)}")
    if done:
        _print(f"to run the best again ({best.file}): {best.command}")


def _print(line: str) -> None:
    console.print(line, soft_wrap=True, markup=False)
