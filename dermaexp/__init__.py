"""Config-driven, honest experiments on DermaMNIST and its MedMNIST siblings.

run = dermaexp.run(["model=cnn", "epochs=3"])
run.metrics["test"]["macro_auroc"]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dermaexp.core.version import __version__

if TYPE_CHECKING:
    from dermaexp.inference.compared_runs import ComparedRuns
    from dermaexp.inference.run import Run

__all__ = ["__version__", "load_run", "load_runs", "run", "sweep"]


def run(overrides: Sequence[str] = ()) -> Run:
    """Run one experiment, as `python -m dermaexp OVERRIDES` does, and return it.

    Raises UserError with the line that the command would print. Leaves nothing in this process that
    it finds: the working directory, the environment, logging and Hydra's state are put back.
    """
    from dermaexp.inference.commands import run

    return run(overrides)


def sweep(overrides: Sequence[str]) -> ComparedRuns:
    """Run a sweep, as `python -m dermaexp -m OVERRIDES` does; return its runs and comparison.

    A failed job is a row of `table` with its error. Raises UserError if no job finished.
    """
    from dermaexp.inference.commands import sweep

    return sweep(overrides)


def load_run(directory: str | Path) -> Run:
    """Return the finished run in a run directory; UserError for any other folder."""
    from dermaexp.inference.run import Run

    return Run(directory)


def load_runs(folders: Sequence[str | Path]) -> ComparedRuns:
    """Return the runs in or below the folders, compared; UserError for one without runs."""
    from dermaexp.inference.compared_runs import ComparedRuns

    return ComparedRuns([Path(folder) for folder in folders])
