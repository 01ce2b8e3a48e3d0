"""A search for hyper-parameters by Optuna: its trials and its study.db.

The sampler is made anew for every trial, from the search's seed and the trial's number, and knows
all trials before: a search that was killed resumes as if it had not been.
"""

from __future__ import annotations

import itertools
import math
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import optuna
from omegaconf import OmegaConf
from optuna.distributions import FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import URL
from sqlalchemy.exc import DatabaseError

from dermaexp.core.console import console
from dermaexp.core.errors import UserError
from dermaexp.core.files import write_bytes
from dermaexp.launch.best_trial import BestTrial
from dermaexp.launch.search_space import RANGE_DIGITS, Plan, Space, as_overrides, planned, rounded

if TYPE_CHECKING:
    from hydra_plugins.dermaexp_search import OptunaSweeper

STUDY = "study.db"
STUDY_NAME = "search"  # of the only study in it
SETTINGS = "settings"  # attribute of the study: digest of what all trials share
PLACES = "places"  # the same: seeds and folds of a trial's jobs
DIGITS = 6  # of a number from an interval: it stands in folder names and tables
# Optuna 4.9 renamed it. It serves without heartbeats too: we call it for each failed trial.
Retry = getattr(
    optuna.storages,
    "RetryHeartbeatStaleTrialCallback",
    getattr(optuna.storages, "RetryFailedTrialCallback", None),
)


def search(sweeper: OptunaSweeper, arguments: Sequence[str]) -> None:
    """Run what is missing of the search's trials; maximises the val macro AUROC.

    First come the trials that were running when an earlier start of the search ended, then another
    attempt at each that failed, max_retry times at most, then new ones up to n_trials. Raises
    UserError for what cannot be searched, before anything is written or run, and in the end where
    all trials failed.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=ExperimentalWarning)  # of Retry
    for name, low in (("n_trials", 1), ("n_jobs", 1), ("seed", 0), ("max_retry", 0)):
        value = getattr(sweeper, name)
        if type(value) is not int or value < low:
            raise UserError(f"hydra.sweeper.{name}={value}: expected a whole number from {low}")
    plan = planned(sweeper, arguments)
    best = BestTrial(sweeper, plan)
    folder = Path(sweeper.config.hydra.sweep.dir)
    study = _opened(folder, plan)
    write_bytes(folder / "multirun.yaml", OmegaConf.to_yaml(sweeper.config).encode())

    due = _due(study, plan.space, sweeper)
    repeats = len(plan.repeats)
    while batch := list(itertools.islice(due, sweeper.n_jobs)):
        if repeats > 1:
            for trial in batch:
                _print(f"\ntrial {trial.number}: {' '.join(as_overrides(trial.params))}")
        jobs = [job for trial in batch for job in plan.jobs(trial.params)]
        # Trials end in the order of their numbers, so that those of a batch have no gaps.
        results = sweeper.launcher.launch(jobs, initial_job_idx=batch[0].number * repeats)
        scores = [result.return_value for result in results]
        for trial in batch:
            own, scores = scores[:repeats], scores[repeats:]
            _tell(study, trial, own, plan)
        best.update(study)
    best.update(study)
    _print_end(study, folder, best, sweeper.max_retry)


def _tell(study: optuna.Study, trial: FrozenTrial, scores: Sequence[float], plan: Plan) -> None:
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


def _opened(folder: Path, plan: Plan) -> optuna.Study:
    """The study in `folder`, a new one where there is none; UserError for one of another search."""
    file = folder / STUDY
    url = URL.create("sqlite", database=str(file)).render_as_string()
    try:
        study = optuna.create_study(
            storage=url, study_name=STUDY_NAME, direction="maximize", load_if_exists=True
        )
    except DatabaseError as error:
        raise UserError(
            f"{file} cannot be opened ({error.orig}): without it the same command starts the "
            "search anew and takes the scores of the runs that are there"
        ) from error
    trials = study.get_trials(deepcopy=False)
    if not trials:
        study.set_user_attr(SETTINGS, plan.digest)
        study.set_user_attr(PLACES, plan.places)
        return study
    before = trials[0].distributions
    if before != plan.space:
        keys = {*before, *plan.space}
        other = sorted(key for key in keys if before.get(key) != plan.space.get(key))
        raise UserError(
            f"{folder} holds a search of another space, in {', '.join(other)}: choose another name"
        )
    places = study.user_attrs.get(PLACES, plan.places)  # an older version wrote none
    if places != plan.places:
        raise UserError(
            f"{folder} holds a search with {places}, not with {plan.places}: choose another name"
        )
    if study.user_attrs[SETTINGS] != plan.digest:
        raise UserError(
            f"{folder} holds a search with other settings than those composed now: choose another "
            "name"
        )
    return study


def _due(study: optuna.Study, space: Space, sweeper: OptunaSweeper) -> Iterator[FrozenTrial]:
    """The trials to run, each stored as running before it is given."""
    before = study.get_trials()  # copies: Retry changes the trial that it is given
    for trial in _not_retried(before):
        Retry(sweeper.max_retry)(study, trial)  # adds one that waits, unless tried too often
    yield from (trial for trial in before if trial.state == TrialState.RUNNING)
    for _ in study.get_trials(deepcopy=False, states=[TrialState.WAITING]):
        number = study.ask().number  # of the first that waits
        yield study.get_trials(deepcopy=False)[number]
    asked = sum(Retry.retried_trial_number(trial) is None for trial in before)
    for number in range(asked, sweeper.n_trials):
        yield _begun(study, space, _proposed(study, space, f"{sweeper.seed},{number}"))


def _not_retried(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Those that failed and that no later trial tries again."""
    retried = {number for trial in trials for number in Retry.retry_history(trial)}
    return [t for t in trials if t.state == TrialState.FAIL and t.number not in retried]


def _begun(study: optuna.Study, space: Space, params: Mapping[str, Any]) -> FrozenTrial:
    """Store a running trial in one transaction, so that a kill leaves the whole of it or nothing.

    `Study.ask` would store it first and then its parameters, one by one.
    """
    study.add_trial(
        optuna.trial.create_trial(state=TrialState.RUNNING, params=params, distributions=space)
    )
    return study.get_trials(deepcopy=False)[-1]


def _proposed(study: optuna.Study, space: Space, seed: str) -> dict[str, Any]:
    """What Optuna's default sampler, TPE, would try next; nothing is stored."""
    sampler = optuna.samplers.TPESampler(seed=random.Random(seed).getrandbits(32))
    scratch = optuna.create_study(direction="maximize", sampler=sampler)
    scratch.add_trials(study.get_trials(deepcopy=False))
    params = scratch.ask(space).params
    for key, distribution in space.items():
        if isinstance(distribution, FloatDistribution):
            digits = RANGE_DIGITS if distribution.step else DIGITS
            short = rounded(params[key], digits)
            params[key] = min(max(short, distribution.low), distribution.high)
    return params


def _print_end(study: optuna.Study, folder: Path, best: BestTrial, max_retry: int) -> None:
    """Print the best trial and its command, and how many failed; UserError where all did."""
    trials = study.get_trials(deepcopy=False)
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    failed = _not_retried(trials)
    again = sum(len(Retry.retry_history(trial)) < max_retry for trial in failed)
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
