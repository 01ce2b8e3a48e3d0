"""Jobs of submitit that leave no result: killed, such as for want of memory, or never started.

The only module that replaces a method of submitit's; tests/launch/test_lost_jobs.py says which
version lacks it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from dermaexp.core.console import print_error
from dermaexp.core.errors import UserError

LATER = 1  # seconds for the next lost job's result to appear; submitit waits 15 for each

lost: list[str] = []  # the files in which the sweep's lost jobs may say why


@contextlib.contextmanager
def losses_reported(*, stop: bool) -> Iterator[None]:
    """Print a line for each job that leaves no result, which counts as failed.

    submitit would raise an error for the first one, and the sweep would leave all others alone: so
    does UserError with `stop`.
    """
    from submitit import Job
    from submitit.core.utils import FailedJobError, UncompletedJobError

    results, seconds = Job.results, Job._results_timeout_s

    def results_or_nan(job: Job[JobReturn]) -> list[Any]:
        try:
            return results(job)
        except (FailedJobError, UncompletedJobError):
            line = "a job left no result, as it was killed or could not start: see "
            line += str(job.paths.stdout)
        if stop:
            raise UserError(f"{line}; sweep.stop_on_failure=true waits for no other job")
        print_error(line)
        lost.append(str(job.paths.stdout))
        Job._results_timeout_s = min(seconds, LATER)
        return [JobReturn(status=JobStatus.COMPLETED, _return_value=math.nan)]

    lost.clear()
    Job.results = results_or_nan  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        Job.results, Job._results_timeout_s = results, seconds  # type: ignore[method-assign]
