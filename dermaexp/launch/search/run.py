"""The trials of a search, run by Hydra's launcher; the best of them in the end."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna
from hydra.plugins.launcher import Launcher
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState

from dermaexp.core.console import console
from dermaexp.core.errors import UserError
from dermaexp.core.files import write_bytes
from dermaexp.launch.search.best_trial import BestTrial
from dermaexp.launch.search.composer import Composer
from dermaexp.launch.search.plan import Plan, planned
from dermaexp.launch.search.space import as_overrides
from dermaexp.launch.search.study import attempts, due, failed_for_good, opened


@dataclass(frozen=True)
class Limits:
    """Whole numbers of hydra.sweeper; conf/hparams_search/optuna.yaml explains them."""

    n_trials: int
    n_jobs: int
    max_retry: int
    seed: int

    def __post_init__(self) -> None:
        for name, low in (("n_trials", 1), ("n_jobs", 1), ("seed", 0), ("max_retry", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < low:
                raise UserError(f"hydra.sweeper.{name}={value}: expected a whole number from {low}")


def search(
    limits: Limits,
    space: Mapping[str, Any],
    composer: Composer,
    launcher: Launcher,
    arguments: Sequence[str],
) -> None:
    """Run what is missing of the search's trials; maximises the val macro AUROC.

    First come the trials that were running when an earlier start of the search ended, then another
    attempt at each that failed, max_retry times at most, then new ones up to n_trials. Raises
    UserError for what cannot be searched, before anything is written or run, and in the end if all
    trials failed.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    plan = planned(composer, space, arguments)
    best = BestTrial(composer, plan)
    folder = Path(composer.search.hydra.sweep.dir)
    study = opened(folder, plan)
    write_bytes(folder / "multirun.yaml", OmegaConf.to_yaml(composer.search).encode())

    trials = due(
        study,
        plan.space,
        n_trials=limits.n_trials,
        max_retry=limits.max_retry,
        seed=limits.seed,
    )
    repeats = len(plan.repeats)
    while batch := list(itertools.islice(trials, limits.n_jobs)):
        if repeats > 1:
            for trial in batch:
                _print(f"\ntrial {trial.number}: {' '.join(as_overrides(trial.params))}")
        jobs = [job for trial in batch for job in plan.jobs(trial.params)]
        # Trials end in the order of their numbers, so that those of a batch have no gaps.
        results = launcher.launch(jobs, initial_job_idx=batch[0].number * repeats)
        scores = [result.return_value for result in results]
        for trial in batch:
            own, scores = scores[:repeats], scores[repeats:]
            _store(study, trial, own, plan)
        best.update(study)
    best.update(study)
    _print_end(study, folder, best, limits.max_retry)


def _store(study: optuna.Study, trial: FrozenTrial, scores: Sequence[float], plan: Plan) -> None:
    """Store a trial's score, the mean of its jobs' scores; it fails if one of them did."""
    score = fmean(scores)
    if math.isnan(score):
        study.tell(trial.number, state=TrialState.FAIL)
        jobs = zip(plan.repeats, scores, strict=True)
        where = ", ".join(" ".join(repeat) for repeat, one in jobs if math.isnan(one))
        _print(f"trial {trial.number} failed: no val macro AUROC{where and f' with {where}'}")
        return
    study.tell(trial.number, score)
    if len(scores) > 1:
        _print(f"trial {trial.number}: val macro AUROC {score:.4f}, the mean over {plan.places}")


def _print_end(study: optuna.Study, folder: Path, best: BestTrial, max_retry: int) -> None:
    """Print the best trial with its command and the number that failed; UserError if all did."""
    trials = study.get_trials(deepcopy=False)
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    failed = failed_for_good(trials)
    again = sum(len(attempts(trial)) < max_retry for trial in failed)
    hint = f", of which the next start tries {again} again" if again else ""
    if not done:
        raise UserError(f"all trials of {folder} failed: {len(failed)}{hint}")
    _print(
        f"\nbest of {len(done)} trials: val macro AUROC {study.best_value:.4f} of trial "
        f"{study.best_trial.number} with {' '.join(as_overrides(study.best_params))}"
    )
    if failed:
        _print(f"failed trials: {len(failed)}{hint}")
    _print(f"to run the best again ({best.file}): {best.command}")


def _print(line: str) -> None:
    console.print(line, soft_wrap=True, markup=False)
