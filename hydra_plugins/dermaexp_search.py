"""Hydra's plugin for `hparams_search=optuna`: Hydra takes sweepers from this package only.

Every start of Hydra imports it: all else waits in dermaexp/launch/search/ until a search starts.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from hydra.core.plugins import Plugins
from hydra.experimental.callback import Callback
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class OptunaSweeper(Sweeper):
    """Hydra's sweeper of a search; conf/hparams_search/optuna.yaml explains its arguments."""

    def __init__(
        self,
        n_trials: int,
        n_jobs: int,
        max_retry: int,
        seed: int,
        storage: str | None,
        space: Mapping[str, str] | None,
        pruner: str = "none",
    ) -> None:
        self.limits = {
            "n_trials": n_trials,
            "n_jobs": n_jobs,
            "max_retry": max_retry,
            "seed": seed,
        }
        self.storage = storage
        self.pruner = pruner
        self.space = space or {}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.hydra_context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        try:
            from dermaexp.launch.search.run import Composer, Limits, search
        except ModuleNotFoundError as error:
            from dermaexp.core.errors import UserError

            raise UserError(
                f"hparams_search needs {error.name}, which is not installed: "
                "pip install 'dermaexp[search]'"
            ) from error
        assert self.hydra_context and self.config and self.launcher, "Hydra calls setup first"
        composer = Composer(self.hydra_context.config_loader, self.config)
        limits = Limits(**self.limits)
        search(limits, self.space, self.storage, self.pruner, composer, self.launcher, arguments)


class OnlyInSweeps(Callback):
    """Refuses a search without --multirun, which would be one run with the defaults."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        if config.resume:  # resumes the run of one trial
            return
        from dermaexp.core.console import print_error

        option = config.hydra.runtime.choices.hparams_search
        print_error(f"hparams_search={option} is a sweep: give -m (--multirun) too")
        sys.exit(1)  # of an error Hydra would only warn
