"""Writes a comparison's files: for `python -m dermaexp.compare DIR …` and at a sweep's end."""

from __future__ import annotations

import re
from pathlib import Path

from dermaexp.compare import page, tables
from dermaexp.compare.comparison import Comparison, comparison_of
from dermaexp.compare.figures import NAMES as FIGURES
from dermaexp.core.owned import Kind, write_files

NAMES = re.compile(
    rf"leaderboard\.(csv|md)|runs\.csv|comparison\.html|figures/({'|'.join(FIGURES)})(_\d+)?\.png"
)
KIND = Kind("comparison.json", NAMES)


def compare(sweep: Path) -> int:
    """Compares the runs of a sweep that ended; returns the number of those that did not finish.

    Prints the tables and writes leaderboard.csv, runs.csv, leaderboard.md, comparison.html and its
    figures/ into `sweep`. Runs on different test data are in separate tables.
    Raises UserError if there are no runs, or if it would overwrite a file of others.
    """
    comparison = comparison_of([sweep])
    tables.show(comparison)  # first, as it cannot fail
    write(comparison, sweep)
    return comparison.unfinished


def write(comparison: Comparison, folder: Path) -> None:
    """Writes all files of `comparison` into `folder`; UserError if one there belongs to others."""
    files = tables.files(comparison, folder)
    try:
        files |= page.files(comparison, folder)
    finally:  # the tables do not depend on a figure
        search = comparison.search
        found = {"importances": search["importances"]} if search else {}
        write_files(folder, KIND, files, found)
