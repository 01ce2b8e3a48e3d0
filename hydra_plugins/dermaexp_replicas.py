"""Hydra's plugin for `sweep.replicas`: a launcher that trains jobs at once.

Every start of Hydra imports it: all else waits in dermaexp/launch/replicas.py until a sweep starts.
"""

from __future__ import annotations

from collections.abc import Sequence

from hydra.core.utils import JobReturn
from hydra.types import TaskFunction

from dermaexp.launch.hydra_internals import BasicLauncher


class ReplicasLauncher(BasicLauncher):
    """Hydra's own launcher, but it trains jobs that differ by the seed alone at once."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from dermaexp.launch import replicas

        assert self.config, "Hydra calls setup first"
        size = self.config.sweep.replicas
        return replicas.launch(self._launch_one, job_overrides, initial_job_idx, size)

    def _launch_one(self, task: TaskFunction, overrides: Sequence[str], number: int) -> JobReturn:
        self.task_function = task
        (result,) = super().launch([overrides], number)
        return result
