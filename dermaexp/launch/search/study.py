"""study.db, Optuna's record of a search: which trials are due, and what came of them.

Each trial gets a new sampler, made from the search's seed and the trial's number, that knows all
trials before: a search that was killed resumes as if it had not been.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import URL
from sqlalchemy.exc import DatabaseError

from dermaexp.core.errors import UserError
from dermaexp.launch.search.plan import Plan
from dermaexp.launch.search.space import Space, short

STUDY = "study.db"
STUDY_NAME = "search"  # of the only study in it
SETTINGS = "settings"  # the study's attribute with the digest of what all trials share
PLACES = "places"  # the study's attribute with the seeds and folds of a trial's jobs
# The trial's attributes that Optuna's own callback for failed trials writes.
FIRST_ATTEMPT, ATTEMPTS = "failed_trial", "retry_history"


def opened(folder: Path, plan: Plan) -> optuna.Study:
    """The study in `folder`, created if missing; UserError for the study of another search."""
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
    if (places := study.user_attrs.get(PLACES)) != plan.places:
        raise UserError(
            f"{folder} holds a search with {places}, not with {plan.places}: choose another name"
        )
    if study.user_attrs[SETTINGS] != plan.digest:
        raise UserError(
            f"{folder} holds a search with another config than that composed now: choose another "
            "name"
        )
    return study


def due(
    study: optuna.Study, space: Space, *, n_trials: int, max_retry: int, seed: int
) -> Iterator[FrozenTrial]:
    """The trials to run, each stored as running before it is given."""
    before = study.get_trials(deepcopy=False)
    for trial in failed_for_good(before):
        if len(attempts(trial)) < max_retry:
            _enqueue_again(study, trial)
    yield from (trial for trial in before if trial.state == TrialState.RUNNING)
    for _ in study.get_trials(deepcopy=False, states=[TrialState.WAITING]):
        number = study.ask().number  # of the first that waits
        yield study.get_trials(deepcopy=False)[number]
    asked = sum(FIRST_ATTEMPT not in trial.system_attrs for trial in before)
    for number in range(asked, n_trials):
        yield _begun(study, space, _proposed(study, space, f"{seed},{number}"))


def failed_for_good(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The failed trials that no later trial repeats."""
    repeated = {number for trial in trials for number in attempts(trial)}
    return [t for t in trials if t.state == TrialState.FAIL and t.number not in repeated]


def attempts(trial: FrozenTrial) -> list[int]:
    """The numbers of the failed trials that this one repeats."""
    return trial.system_attrs.get(ATTEMPTS, [])


def _enqueue_again(study: optuna.Study, trial: FrozenTrial) -> None:
    """Add a waiting trial with the values of the failed `trial`."""
    first = trial.system_attrs.get(FIRST_ATTEMPT, trial.number)
    history = [*attempts(trial), trial.number]
    study.add_trial(
        create_trial(
            state=TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            system_attrs={**trial.system_attrs, FIRST_ATTEMPT: first, ATTEMPTS: history},
        )
    )


def _begun(study: optuna.Study, space: Space, params: Mapping[str, Any]) -> FrozenTrial:
    """Store a running trial in one transaction, so that a kill leaves the whole of it or nothing.

    `Study.ask` would store it first and then its parameters, one by one.
    """
    study.add_trial(
        create_trial(state=TrialState.RUNNING, params=dict(params), distributions=space)
    )
    return study.get_trials(deepcopy=False)[-1]


def _proposed(study: optuna.Study, space: Space, seed: str) -> dict[str, Any]:
    """What Optuna's default sampler, TPE, would try next; nothing is stored."""
    sampler = optuna.samplers.TPESampler(seed=random.Random(seed).getrandbits(32))
    scratch = optuna.create_study(direction="maximize", sampler=sampler)
    scratch.add_trials(study.get_trials(deepcopy=False))
    params = scratch.ask(space).params
    return {key: short(params[key], distribution) for key, distribution in space.items()}
