"""Jobs of joblib's launcher in workers forked by one process that has imported what runs need.

Joblib's own workers each import torch and Lightning, all at once. The only module that uses what
`hydra_joblib_launcher` keeps to itself; tests/launch/test_launchers.py says which version lacks it.
"""

from __future__ import annotations

import concurrent.futures
import importlib
import multiprocessing
import os
import pickle
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, configure_log, setup_globals

from dermaexp.core import lean_imports
from dermaexp.core.processes import end_with_parent

if TYPE_CHECKING:
    from hydra_plugins.hydra_joblib_launcher.joblib_launcher import JoblibLauncher

POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
NEEDED = ("dermaexp.launch.attempt", "dermaexp.training.experiment", "dermaexp.report.callbacks")

IDLE = 300  # seconds that the process waits for the next jobs of a search

_jobs: list[tuple[Any, ...]] = []  # the arguments of each, which workers inherit


def workers(at_once: int, jobs: int) -> int:
    """How many workers `n_jobs` means, but no more than there are jobs."""
    from joblib import effective_n_jobs

    return min(effective_n_jobs(at_once), jobs)


def launch(
    launcher: JoblibLauncher, overrides: Sequence[Sequence[str]], first: int, at_once: int
) -> Sequence[JobReturn]:
    """Run the jobs, `at_once` of them in parallel; raises the first error of a job or a worker."""
    from joblib.externals.loky import get_reusable_executor

    setup_globals()
    config = launcher.config
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    state = Singleton.get_state()
    jobs = [
        (first + place, own, launcher.hydra_context, config, launcher.task_function, state)
        for place, own in enumerate(overrides)
    ]
    threads = str(max(1, (os.cpu_count() or 1) // at_once))
    shared = {name: threads for name in POOLS if name not in os.environ}
    # A process of its own: this one may have threads, which no fork survives.
    foreman = get_reusable_executor(max_workers=1, env=shared, timeout=IDLE)
    try:
        returned = foreman.submit(run, jobs, at_once, config.compile).result()
    except BaseException as error:
        foreman.shutdown(wait=False, kill_workers=True)  # and all that it has forked
        error.__cause__ = None  # the traceback in the other process
        raise
    return [pickle.loads(one) for one in returned]


def run(jobs: list[tuple[Any, ...]], at_once: int, compiles: bool) -> list[bytes]:
    """Run the jobs in workers forked from this process; returns each JobReturn, pickled."""
    end_with_parent()
    lean_imports.import_all(compiler=compiles)
    for name in NEEDED:
        importlib.import_module(name)
    _jobs[:] = jobs
    fork = multiprocessing.get_context("fork")
    watch_again = end_with_parent.cache_clear  # each worker ends with this process, too
    pool = concurrent.futures.ProcessPoolExecutor(at_once, mp_context=fork, initializer=watch_again)
    results = [pool.submit(_run, place) for place in range(len(jobs))]
    try:
        for result in concurrent.futures.as_completed(results):
            result.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return [result.result() for result in results]


def _run(place: int) -> bytes:
    from hydra_plugins.hydra_joblib_launcher._core import execute_job
    from joblib.externals.loky.backend.reduction import dumps

    return bytes(dumps(execute_job(*_jobs[place])))
