"""Hydra's plugin for `hparams_search=optuna`: Hydra takes sweepers from this package only.

Every start of Hydra imports this, so that all else waits in dermaexp/search.py for a search.
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
        space: Mapping[str, str] | None,
    ) -> None:
        self.n_trials = n_trials
        self.n_jobs = n_jobs
        self.max_retry = max_retry
        self.seed = seed
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
            from dermaexp.launch.search import search
        except ModuleNotFoundError as error:
            from dermaexp.core.errors import UserError

            raise UserError(
                f"hparams_search needs {error.name}, which is not installed: "
                "pip install 'dermaexp[search]'"
            ) from error
        search(self, arguments)


class OnlyInSweeps(Callback):
    """Refuses a search without --multirun, which would be one run with the defaults."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        if config.resume:  # goes on with the run of one trial
            return
        from dermaexp.core.console import print_error

        option = config.hydra.runtime.choices.hparams_search
        print_error(f"hparams_search={option} is a sweep: give -m (--multirun) too")
        sys.exit(1)  # of an error Hydra would only warn
