"""The trials of a search in Optuna's study: which of them to run, and what came of them.

Each new trial gets a new sampler, made from the search's seed and the trial's number, that knows
all trials before: a search that was killed resumes as if it had not been.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import random
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.trial import FrozenTrial, TrialState, create_trial

from dermaexp.core.errors import UserError
from dermaexp.launch.search.database import ERRORS, Database
from dermaexp.launch.search.plan import Plan
from dermaexp.launch.search.space import short

SETTINGS = "settings"  # the study's attribute with the digest of what all trials share
PLACES = "places"  # the study's attribute with the seeds and folds of a trial's jobs
RUNS = "runs"  # a trial's attribute with the folders of its runs
INTERVAL = 15  # seconds between the heartbeats of a running trial
GRACE = 90  # seconds without one, after which its search counts as dead

attempts = RetryHeartbeatStaleTrialCallback.retry_history  # the failed trials that one repeats


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


def runs_of(trial: FrozenTrial) -> list[str]:
    """The folders of the runs of a trial that ended, relative to the search's."""
    return trial.user_attrs.get(RUNS, [])


class Trials:
    """The trials of a search, which others run too where they share its database.

    A start tries each failed trial again, max_retry times at most. Raises UserError for the study
    of another search.
    """

    def __init__(self, database: Database, plan: Plan, limits: Limits) -> None:
        # Optuna's own loop takes one trial at a time: a batch needs `Study.ask` and our heartbeats.
        warnings.filterwarnings("ignore", "Heartbeat of storage is supposed to be used with")
        warnings.filterwarnings("ignore", category=ExperimentalWarning)
        self._database, self._space, self._limits = database, plan.space, limits
        retry = RetryHeartbeatStaleTrialCallback(limits.max_retry)
        with database.exclusive():
            self._storage = RDBStorage(
                database.url,
                engine_kwargs={"pool_pre_ping": True},
                heartbeat_interval=INTERVAL,
                grace_period=GRACE,
                heartbeat_stale_trial_callback=retry,
            )
            self.study = optuna.create_study(
                storage=self._storage,
                study_name=database.name,
                direction="maximize",
                load_if_exists=True,
            )
            if self.all():
                _check_same_search(self.study, plan, database.label)
            else:
                self.study.set_user_attr(SETTINGS, plan.digest)
                self.study.set_user_attr(PLACES, plan.places)
                self._add(0)  # here, as it holds the space
            for trial in self.failed():
                retry(self.study, self.study.get_trials()[trial.number])  # a copy: it changes it
        # Nobody else can run those of an unshared study: an earlier start was killed in them.
        self._left = [] if database.shared else self.all(TrialState.RUNNING)
        self._all_beat_by = time.monotonic() + GRACE + INTERVAL

    def all(self, *states: TrialState) -> list[FrozenTrial]:
        """The trials in these states, or in any, by number."""
        return self.study.get_trials(deepcopy=False, states=states or None)

    def failed(self) -> list[FrozenTrial]:
        """The failed trials that no later trial repeats."""
        repeated = {number for trial in self.all() for number in attempts(trial)}
        return [trial for trial in self.all(TrialState.FAIL) if trial.number not in repeated]

    def batch(self) -> list[FrozenTrial]:
        """The next n_jobs trials, each stored as running; fewer or none if no more are left.

        Waits, at the start only, until it is known which trials of other searches are alive.
        """
        while not (batch := list(itertools.islice(iter(self._next, None), self._limits.n_jobs))):
            if time.monotonic() > self._all_beat_by or not self.all(TrialState.RUNNING):
                break
            time.sleep(1)
        return batch

    @contextlib.contextmanager
    def beating(self, batch: Sequence[FrozenTrial]) -> Iterator[None]:
        """Record heartbeats of the running trials in `batch`, for other searches to see."""
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(INTERVAL):
                with contextlib.suppress(*ERRORS):  # it may come back; if not, the next step fails
                    for trial in batch:
                        self._beat(trial)

        threading.Thread(target=beat, daemon=True).start()
        try:
            yield
        finally:
            stop.set()

    def end(
        self,
        trial: FrozenTrial,
        score: float | None,
        runs: Sequence[str],
        *,
        pruned: bool = False,
        reported: Mapping[int, float] = MappingProxyType({}),
    ) -> bool:
        """Store the score of a trial, None if it failed or was pruned, and the folders of its runs.

        Also what it would have `reported` by epoch, where its run ended before this study began.

        Returns whether it counts: not if another search took this one for dead meanwhile.
        """
        try:
            self._storage.set_trial_user_attr(self._id(trial), RUNS, list(runs))
            known = self.all()[trial.number].intermediate_values
            for epoch in sorted(reported.keys() - known.keys()):
                value = reported[epoch]
                if not math.isnan(value):
                    self._storage.set_trial_intermediate_value(self._id(trial), epoch, value)
        except UpdateFinishedTrialError:
            return False
        state = TrialState.FAIL if score is None else TrialState.COMPLETE
        if pruned:  # Optuna takes the last value reported
            state, score = TrialState.PRUNED, None
        return self.study.tell(trial.number, score, state, skip_if_finished=True).state == state

    def _next(self) -> FrozenTrial | None:
        """The next trial to run, stored as running; None if none is left."""
        if self._left:
            self._beat(self._left[0])
            return self._left.pop(0)
        with self._database.exclusive():
            fail_stale_trials(self.study)
            asked = sum(not attempts(trial) for trial in self.all())
            if not self.all(TrialState.WAITING) and asked < self._limits.n_trials:
                self._add(asked)
            waiting = self.all(TrialState.WAITING)
            if not waiting:
                return None
            self._beat(waiting[0])  # before: a running trial always has a heartbeat, even if killed
            return self.all()[self.study.ask().number]

    def _add(self, number: int) -> None:
        """Add a waiting trial with what Optuna's default sampler, TPE, would try next.

        In one transaction: `Study.ask` would store it first and then its parameters, one by one.
        """
        seed = random.Random(f"{self._limits.seed},{number}").getrandbits(32)
        sampler = optuna.samplers.TPESampler(seed=seed)
        scratch = optuna.create_study(direction="maximize", sampler=sampler)
        scratch.add_trials(self.all())
        proposed = scratch.ask(self._space).params
        params = {key: short(proposed[key], kind) for key, kind in self._space.items()}
        self.study.add_trial(
            create_trial(state=TrialState.WAITING, params=params, distributions=self._space)
        )

    def _beat(self, trial: FrozenTrial) -> None:
        self._storage.record_heartbeat(self._id(trial))

    def _id(self, trial: FrozenTrial) -> int:
        study = self._storage.get_study_id_from_name(self._database.name)
        return self._storage.get_trial_id_from_study_id_trial_number(study, trial.number)


def _check_same_search(study: optuna.Study, plan: Plan, label: str) -> None:
    """Raise UserError if the study is that of another search than planned."""
    before = study.get_trials(deepcopy=False)[0].distributions
    if before != plan.space:
        keys = {*before, *plan.space}
        other = sorted(key for key in keys if before.get(key) != plan.space.get(key))
        raise UserError(
            f"{label} holds a search of another space, in {', '.join(other)}: choose another name"
        )
    if (places := study.user_attrs.get(PLACES)) != plan.places:
        raise UserError(
            f"{label} holds a search with {places}, not with {plan.places}: choose another name"
        )
    if study.user_attrs[SETTINGS] != plan.digest:
        raise UserError(
            f"{label} holds a search with another config than that composed now: choose another "
            "name"
        )
