"""Figures and pages of a sweep's runs, made by another process while the next job trains.

Only where jobs run one after another: where several run at once, they leave no core free.
"""

from __future__ import annotations

import contextlib
import gc
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from dermaexp.core.console import print_error
from dermaexp.core.processes import end_with_parent
from dermaexp.launch.explain import explain
from dermaexp.report import waiting
from dermaexp.runs.directory import RunDirectory

if TYPE_CHECKING:
    from dermaexp.launch.attempt import Job

LAUNCHERS = ("BasicLauncher", "ReplicasLauncher")
SWEEPER = "BasicSweeper"  # a search tells Optuna how a job ended before the next one begins
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # the job trains on the cores

_of_this_sweep: list[Beside] = []


class Beside:
    """Another process that writes the figures and pages of runs, in the order of their ends."""

    def __init__(self) -> None:
        self._pool: Any = None
        self._left: deque[tuple[Path, Sequence[waiting.Waiting], Any]] = deque()

    def start(self) -> None:
        """Let the process begin to import what it needs, the first time."""
        if self._pool is None:
            from joblib.externals.loky import ProcessPoolExecutor

            # Not forked: torch has threads here. Not spawned: that would import a user's script.
            self._pool = ProcessPoolExecutor(1, initializer=_begin, env=ENVIRONMENT)
            self._pool.submit(int)

    def finish(self, run: Path, figures: Sequence[waiting.Waiting]) -> None:
        """Have the figures and the page of a run written, once those of the run before it are."""
        self.start()
        try:
            made = self._pool.submit(waiting.write_with_page, run, figures)
        except Exception:  # the process has died
            made = None
        self._left.append((run, figures, made))
        self.wait(left=1)

    def wait(self, left: int = 0) -> None:
        """Wait until no more than `left` runs lack their pages; what failed is tried here."""
        while len(self._left) > left:
            run, figures, made = self._left[0]
            if made is None or made.exception():
                _write_here(RunDirectory(run), figures)
            self._left.popleft()

    def close(self) -> None:
        """Wait for all pages, then end the process."""
        try:
            self.wait()
        finally:
            if self._pool:
                self._pool.shutdown(kill_workers=True)


@contextlib.contextmanager
def pages_made_beside(config: DictConfig) -> Iterator[None]:
    """Let the jobs of the sweep leave their pages to another process; wait for it at the end."""
    launcher, sweeper = (
        config.hydra[part]._target_.split(".")[-1] for part in ("launcher", "sweeper")
    )
    if launcher not in LAUNCHERS or sweeper != SWEEPER:
        yield
        return
    beside = Beside()
    _of_this_sweep.append(beside)
    try:
        yield
    finally:
        _of_this_sweep.remove(beside)
        beside.close()


def process_for(job: Job) -> Beside | None:
    """Return the process that makes the job's figures and page; None where the job itself does."""
    config = job.config
    if not _of_this_sweep or not config.report:
        return None
    from dermaexp.report.regenerate import figures_of  # with SciPy, which refusals do not need

    if not any(figures_of(config)):
        return None
    tracked = any((config.logger or {}).values())  # a tracker takes the figures when a run ends
    if tracked or config.sweep.stop_on_failure:
        return None
    _of_this_sweep[-1].start()
    return _of_this_sweep[-1]


def _begin() -> None:
    """Prepare the other process, which outlives neither this one nor Ctrl-C in it."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a sweep that is interrupted waits for its pages
    from dermaexp.core import lean_imports

    lean_imports.import_sklearn()
    from dermaexp.report import figures, page  # noqa: F401

    gc.freeze()  # as where Lightning was imported


def _write_here(directory: RunDirectory, figures: Sequence[waiting.Waiting]) -> None:
    """Write figures and page in this process; a run whose figures fail has failed."""
    try:
        waiting.write(directory.path, figures)
    except Exception as error:
        print_error(f"the figures of {directory.path} failed: {explain(error)}")
        failed = {"status": "failed", "error": explain(error)}
        with contextlib.suppress(OSError):  # a full disk
            directory.write_run({**directory.read_run(), **failed})
        return
    try:
        waiting.write_with_page(directory.path, ())
    except Exception as error:
        print_error(f"the page of {directory.path} failed: {explain(error)}")
