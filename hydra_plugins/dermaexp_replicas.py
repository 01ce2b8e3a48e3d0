"""Hydra's plugin for `sweep.replicas`: a launcher that trains jobs at once.

Every start of Hydra imports it: all else waits in dermaexp/launch/replicas.py until a sweep starts.
"""

from __future__ import annotations

from collections.abc import Sequence

from hydra.core.utils import JobReturn, configure_log, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write


class ReplicasLauncher(Launcher):
    """Runs the jobs one by one, as Hydra's own launcher, but trains replicas at once before."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.hydra_context = hydra_context
        self.config = config
        self.begun: dict[int, DictConfig] = {}  # configs of jobs that run a second time

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from dermaexp.launch import replicas

        setup_globals()
        size = self.config.sweep.replicas
        return replicas.launch(self._launch_one, job_overrides, initial_job_idx, size)

    def _launch_one(
        self, task: TaskFunction, overrides: Sequence[str], number: int, *, again: bool
    ) -> JobReturn:
        """Run the task in the job's folder; `again` says that another one follows there."""
        config = self.begun.pop(number, None)
        if config is None:
            loader = self.hydra_context.config_loader
            config = loader.load_sweep_config(self.config, list(overrides))
            with open_dict(config):
                config.hydra.job.id = config.hydra.job.num = number
        else:
            with read_write(config.hydra):
                config.hydra.output_subdir = None  # .hydra is written
        if again:  # composing it takes as long as testing a small model
            self.begun[number] = config
        result = run_job(
            hydra_context=self.hydra_context,
            task_function=task,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        return result
