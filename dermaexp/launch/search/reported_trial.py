"""A trial as its jobs see it, in whatever process they run: they report to the study's database."""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from hydra.conf import HydraConf
from omegaconf import DictConfig
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage

from dermaexp.core.console import print_warning
from dermaexp.core.errors import causes, first_line
from dermaexp.launch.search.database import ERRORS, own_database, shared_database
from dermaexp.launch.search.password import without_password
from dermaexp.launch.search.pruner import pruner_of

STORAGE = "hydra.sweeper.storage="
KEY = "++hydra.sweeper.trial="  # the override by which a job gets to know its trial
PRUNED = "pruned_after"  # a trial's attribute with the epoch after which it was pruned


def override(number: int, *, decides: bool) -> str:
    """Return the override for a job of trial `number`.

    The first job of a trial reports and `decides`; those of other seeds or folds follow it.
    """
    return f"{KEY}{{number:{number},decides:{str(decides).lower()}}}"


def described(hydra: HydraConf, config: DictConfig) -> dict[str, Any] | None:
    """Return what Hydra's `instantiate` makes the job's ReportedTrial of; None without one.

    It can be sent to other processes, which get the database's password by the environment.
    """
    sweeper = hydra.sweeper
    if not sweeper.get("trial"):
        return None
    if sweeper.storage is None:
        database = own_database(Path(hydra.sweep.dir).absolute())
    else:
        database = shared_database(sweeper.storage, str(config.name))
    url = database.engine.url
    if database.engine.name == "sqlite":  # a job may run in its own folder
        url = url.set(database=str(Path(url.database or "").absolute()))
    full = url.render_as_string(hide_password=False)
    (argument,) = without_password([f"{STORAGE}{full}"])
    return {
        "_target_": f"{__name__}.{ReportedTrial.__name__}",
        "url": argument.removeprefix(STORAGE),
        "study": database.name,
        "number": sweeper.trial.number,
        "decides": sweeper.trial.decides,
        "pruner": sweeper.pruner,
        "epochs": config.trainer.max_epochs,
    }


class ReportedTrial:
    """The trial `number` of a study, of so many epochs; implements `training.trial.Trial`.

    After the last epoch nothing is left to save: then no trial is pruned. A database that cannot be
    reached any more stops no training, but nothing is pruned then.
    """

    def __init__(
        self, *, url: str, study: str, number: int, decides: bool, pruner: str, epochs: int
    ) -> None:
        self._url, self._name, self._number = url, study, number
        self._decides, self._epochs = decides, epochs
        self._pruner = pruner_of(pruner, epochs)
        self._lost = False

    def report(self, value: float, epoch: int) -> bool:
        """Store the val macro AUROC after `epoch`, from 1; return whether the trial is pruned."""
        if self._lost:
            return False
        try:
            if not self._decides:
                return epoch < self._epochs and self._was_pruned()
            if math.isnan(value):  # undefined: neither good nor bad
                return False
            self._storage.set_trial_intermediate_value(self._id, epoch, value)
            return epoch < self._epochs and self._decided(epoch)
        except (*ERRORS, UpdateFinishedTrialError, LookupError) as error:
            self._lost = True
            reason = first_line(next(causes(error)))
            print_warning(f"the search's database cannot be reached, no pruning ({reason})")
            return False

    def was_pruned(self) -> bool:
        """Whether another job of the trial was pruned, so that this one need not start."""
        return not self._decides and self.report(math.nan, 0)

    def _was_pruned(self) -> bool:
        return PRUNED in self._storage.get_trial(self._id).user_attrs

    def _decided(self, epoch: int) -> bool:
        if not self._pruner.prune(self._study, self._storage.get_trial(self._id)):
            return False
        self._storage.set_trial_user_attr(self._id, PRUNED, epoch)
        return True

    @cached_property
    def _storage(self) -> RDBStorage:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        return RDBStorage(self._url, engine_kwargs={"pool_pre_ping": True})

    @cached_property
    def _study(self) -> optuna.Study:
        return optuna.load_study(study_name=self._name, storage=self._storage)

    @cached_property
    def _id(self) -> int:
        study = self._storage.get_study_id_from_name(self._name)
        return self._storage.get_trial_id_from_study_id_trial_number(study, self._number)
