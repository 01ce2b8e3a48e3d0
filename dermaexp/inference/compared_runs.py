"""Runs and their comparison as one object, such as of a sweep: its numbers as DataFrames."""

from __future__ import annotations

import html
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from dermaexp.compare import tables
from dermaexp.compare.comparison import Comparison, comparison_of
from dermaexp.inference.run import Run
from dermaexp.runs.collect import read_runs


class ComparedRuns:
    """The runs in or below `folders`, compared as `python -m dermaexp compare` does.

    Raises UserError for a folder without runs.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = [folder.absolute() for folder in folders]
        self._found = read_runs(self.folders)

    @property
    def path(self) -> Path:
        """The sweep's folder, or the first of several folders."""
        return self.folders[0]

    @cached_property
    def runs(self) -> list[Run]:
        """The finished runs, in the order of folders and names."""
        return [Run(run.directory.path) for run in self._found if run.compared]

    @cached_property
    def comparison(self) -> Comparison:
        """The comparison, which takes seconds as it resamples the test images."""
        return comparison_of(self.folders)

    @property
    def errors(self) -> dict[str, str]:
        """Why runs did not finish or cannot be compared, by the names of their folders."""
        return {run.directory.path.name: str(run.reason) for run in self._found if not run.compared}

    @property
    def leaderboard(self) -> pd.DataFrame:
        """A row for each run group and baseline, with the columns of leaderboard.csv.

        Groups that were tested on other images are ranked by themselves.
        """
        rows = [
            row for table in self.comparison.tables for row in tables.group_rows(table, _as_it_is)
        ]
        return pd.DataFrame(rows, columns=tables.group_columns(self.comparison))

    @property
    def table(self) -> pd.DataFrame:
        """A row for each run, also for those that failed, with the columns of runs.csv."""
        rows = tables.run_rows(self.comparison, self.path, _as_it_is)
        return pd.DataFrame(rows, columns=tables.run_columns(self.comparison))

    def __repr__(self) -> str:
        return f"ComparedRuns({str(self.path)!r}: {self._counts})"

    @property
    def _counts(self) -> str:
        return f"{len(self.runs)} runs compared, {len(self.errors)} left out"

    def _repr_html_(self) -> str:
        parts = (
            [f"<p>{html.escape(self.comparison.warning)}</p>"] if self.comparison.warning else []
        )
        names = list(self.comparison.varied) or ["name"]
        for table in self.comparison.tables:
            rows = tables.shown_rows(table, names, 4, " ± ", "majority baseline")
            shown = tables.shown_scores(table.task)
            frame = pd.DataFrame(
                rows, columns=["rank", *names, *table.counts, *shown], dtype=object
            )
            text = frame.fillna("").to_html(index=False)
            parts.append(f"<b>{html.escape(table.title)}</b>{text}")
        return "".join([*parts, f"<p>{self._counts}</p>"])


def _as_it_is(value: Any) -> Any:
    return value
