"""Hydra's plugin for `hydra/launcher=joblib`: workers that need not import what a run does.

Every start of Hydra imports it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra.core.utils import JobReturn

NVIDIA = Path("/dev/nvidiactl")  # CUDA is not for forked processes

with contextlib.suppress(ImportError):  # the extra is not installed
    from hydra_plugins.hydra_joblib_launcher.joblib_launcher import JoblibLauncher

    class ForkingJoblibLauncher(JoblibLauncher):
        """Joblib's launcher, whose workers one process forks that has imported all."""

        def launch(
            self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
        ) -> Sequence[JobReturn]:
            from dermaexp.launch import forked

            at_once = forked.workers(self.joblib["n_jobs"], len(job_overrides))
            if at_once == 1 or sys.platform != "linux" or NVIDIA.exists():
                return super().launch(job_overrides, initial_job_idx)
            return forked.launch(self, job_overrides, initial_job_idx, at_once)
