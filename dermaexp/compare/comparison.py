"""The comparison of many runs as data: tables of run groups, with tests and runs left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dermaexp.compare.notes import with_peculiarities
from dermaexp.compare.run_groups import RunGroup, run_groups
from dermaexp.compare.search import Search, numbers, read_search
from dermaexp.compare.significance import Evidence, compare_with_best
from dermaexp.compare.varied_keys import TARGET, varied_keys
from dermaexp.core.errors import UserError
from dermaexp.core.tasks import Task
from dermaexp.metrics.baseline import Baseline, baseline_of
from dermaexp.runs.collect import Run, read_runs

SEEDS = (
    "Ranked by the mean val macro AUROC over the seeds of a run group; ± is the standard deviation "
    "over seeds."
)
FOLDS = (
    "Cross-validated: a score is the mean over folds, and a fold's score the mean over its seeds; "
    "± is the standard deviation over folds. Ranked by val macro AUROC."
)


@dataclass(frozen=True)
class Table:
    """The run groups tested on the same images, ranked by mean val macro AUROC."""

    groups: tuple[RunGroup, ...]
    baselines: tuple[Baseline, ...]
    evidence: Evidence
    title: str = ""

    @property
    def data(self) -> str:
        """The name of the data, or names."""
        return " and ".join(dict.fromkeys(group.data for group in self.groups))

    @property
    def classes(self) -> tuple[str, ...]:
        return self.groups[0].runs[0].classes

    @property
    def task(self) -> Task:
        return self.groups[0].task

    @property
    def images(self) -> int:
        """The number of test images."""
        return sum(images for _, _, images in self.groups[0].tested_on)

    @property
    def synthetic(self) -> bool:
        """Whether the data are synthetic, in whole or in part."""
        return any(group.runs[0].data.get("synthetic") for group in self.groups)

    @property
    def cross_validated(self) -> bool:
        return bool(self.groups[0].folds)

    @property
    def folds(self) -> str:
        """The number of folds that were run, such as "5 of 5"; empty for the official split."""
        run, folds = self.groups[0].runs[0], self.groups[0].folds
        return f"{len(folds)} of {run.split['folds']}" if folds else ""

    @property
    def counts(self) -> list[str]:
        """The columns that count what a score is a mean of."""
        return ["seeds", "folds"] if self.cross_validated else ["seeds"]

    @property
    def subject(self) -> str:
        """The data, and the folds of a cross-validation."""
        return ", ".join(filter(None, (self.data, self.groups[0].cross_validation)))

    @property
    def unit(self) -> str:
        """What a group's standard deviations are over: "seed" or "fold"."""
        return "fold" if self.cross_validated else "seed"

    @property
    def repeated_over(self) -> str:
        """What a group's runs differ in."""
        return "folds and seeds" if self.cross_validated else "seeds"

    @property
    def reading(self) -> str:
        """Explains the scores."""
        return FOLDS if self.cross_validated else SEEDS

    @property
    def source(self) -> tuple[object, ...]:
        """Identifies the test data: equal for tables of other folds of the same data."""
        run = self.groups[0].runs[0]
        if self.cross_validated:
            return run.source_fingerprint, run.grouping_fingerprint, run.split["folds"]
        return run.tested_on

    @property
    def notes(self) -> list[str]:
        """The caveats on the groups and on their tests."""
        notes = [f"{group.label}: {note}" for group in self.groups for note in group.notes]
        return [*notes, *self.evidence.notes]


@dataclass(frozen=True)
class Comparison:
    """All tables of the runs below `folders`.

    `varied` maps the keys that the groups vary to short headings. `left_out` are the runs that did
    not finish or cannot be compared, with reasons. `search` is that of a search's own folder.
    """

    folders: tuple[Path, ...]
    tables: tuple[Table, ...]
    varied: dict[str, str]
    left_out: tuple[Run, ...]
    search: Search | None = None

    @property
    def runs(self) -> list[Run]:
        """All runs in tables."""
        return [run for table in self.tables for group in table.groups for run in group.runs]

    @property
    def tasks(self) -> list[Task]:
        """The tasks of the tables, each once."""
        return list(dict.fromkeys(table.task for table in self.tables))

    @property
    def damaged(self) -> list[Run]:
        """The runs in tables that have unreadable files."""
        return [run for run in self.runs if run.damage]

    @property
    def unfinished(self) -> int:
        """The number of runs that failed or were interrupted; a search may still run some."""
        going_on = self.search and numbers(self.search, "running")
        expected = ("finished", "pruned", *(["running"] if going_on else []))
        return sum(run.status not in expected for run in self.left_out)

    @property
    def has_folds(self) -> bool:
        """Whether any run, compared or left out, was tested on a fold."""
        return any(run.fold is not None for run in (*self.runs, *self.left_out))

    @property
    def warning(self) -> str:
        """Warns of tables of different folds, or of folds and the official split; or empty."""
        if len(self.tables) < 2 or not any(table.cross_validated for table in self.tables):
            return ""
        return (
            f"The {len(self.tables)} tables are of different test images: do not compare their "
            "numbers with each other."
        )


def comparison_of(folders: Sequence[Path]) -> Comparison:
    """Reads and compares every run in or below the `folders`; UserError if there is none.

    Runs that were tested on different images are in different tables, as they cannot be ranked
    together.
    """
    search = read_search(folders[0]) if len(folders) == 1 else None
    try:
        runs = read_runs(folders)
    except UserError:
        if not search:  # all its trials may have run elsewhere
            raise
        runs = []
    compared = [run for run in runs if run.compared]
    varied = varied_keys(compared)
    by_test: dict[tuple[object, ...], list[RunGroup]] = {}
    for group in run_groups(compared, varied):
        by_test.setdefault(group.tested_on, []).append(group)
    tables: list[Table] = []
    for groups in by_test.values():
        tables.append(_table(groups, [table.title for table in tables]))
    return Comparison(
        tuple(folders),
        tuple(tables),
        _headings(list(varied)),
        tuple(run for run in runs if not run.compared),
        search,
    )


def _table(groups: Sequence[RunGroup], taken: Sequence[str]) -> Table:
    """The table of `groups`, whose title is none of those `taken`."""
    noted = with_peculiarities(groups)
    baselines = [baseline_of(*(fold[0].metrics for fold in group.by_fold)) for group in noted]
    distinct = {baseline.predicted: baseline for baseline in baselines}
    table = Table(tuple(noted), tuple(distinct.values()), compare_with_best(noted))
    title = f"Leaderboard on {table.subject}, {table.images:,} test images"
    if title in taken:  # different data under the same name
        title += f" {groups[0].tested_on[0][1][:8]}"
    return replace(table, title=title)


def _headings(keys: Sequence[str]) -> dict[str, str]:
    """The last part of each key, or the whole key if that is `_target_` or not unique."""
    leaves = [key.rpartition(".")[2] for key in keys]
    return {
        key: leaf if leaves.count(leaf) == 1 and leaf != TARGET else key
        for key, leaf in zip(keys, leaves, strict=True)
    }
