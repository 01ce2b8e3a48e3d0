"""Hydra's plugin for `hydra/launcher=submitit_slurm`: jobs of one or of several tasks.

Every start of Hydra imports it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

from hydra.core.utils import JobReturn

from dermaexp.core import processes

with contextlib.suppress(ImportError):  # the extra is not installed
    from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher

    class SlurmTasksLauncher(SlurmLauncher):
        """submitit's launcher, but only the first task of a job composes it and writes files."""

        def __call__(self, *args: Any, **kwargs: Any) -> JobReturn:
            if processes.rank() > 0:
                from dermaexp.training.worker import follow

                if code := follow():
                    sys.exit(code)
                return JobReturn()
            try:
                with _interrupted_when_queued_again():
                    return super().__call__(*args, **kwargs)
            finally:
                if processes.count() > 1:
                    from dermaexp.training.distributed import release

                    release(int(sys.exception() is not None))


@contextlib.contextmanager
def _interrupted_when_queued_again() -> Iterator[None]:
    """Interrupt the run when submitit has queued its job again: its sys.exit would fail the run."""
    number = signal.Signals[f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}"]
    handler = signal.getsignal(number)

    def handle(*args: Any) -> None:
        try:
            handler(*args)
        except SystemExit:
            raise KeyboardInterrupt from None

    signal.signal(number, handle)
    yield
