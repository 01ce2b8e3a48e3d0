"""A run's figures: plotted at their moment, or all at the end of the run, perhaps elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a run without figures needs no Matplotlib
    from matplotlib.figure import Figure

Waiting = tuple[str, Callable[[], "Figure"]]  # the name of a figure's file, and what plots it

_runs: list[list[Waiting]] = []  # the figures of the run that lets them wait, if one does


def draw(folder: Path, name: str, plot: Callable[[], Figure]) -> None:
    """Write the figure to the run directory `folder`, or let it wait until the run ends."""
    if _runs:
        _runs[-1].append((name, plot))
    else:
        write(folder, [(name, plot)])


@contextlib.contextmanager
def figures_wait(folder: Path) -> Iterator[list[Waiting]]:
    """Let the figures of a run wait, and yield those that do; a run that fails has its own."""
    figures: list[Waiting] = []
    _runs.append(figures)
    try:
        yield figures
    except BaseException:
        with contextlib.suppress(Exception):  # the error itself matters more
            write(folder, figures)
        raise
    finally:
        _runs.pop()


def write(folder: Path, figures: Sequence[Waiting]) -> None:
    """Plot the figures and write them to the run directory `folder`."""
    from dermaexp.report.style import write_figure

    for name, plot in figures:
        write_figure(folder, name, plot())


def write_with_page(folder: Path, figures: Sequence[Waiting]) -> None:
    """Write the figures, then the page that shows them."""
    from dermaexp.report.page import write_report
    from dermaexp.runs.directory import RunDirectory

    write(folder, figures)
    write_report(RunDirectory(folder))
