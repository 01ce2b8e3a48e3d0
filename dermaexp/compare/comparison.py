"""The comparison of many runs as data: tables of groups, their evidence, what is not in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dermaexp.compare.groups import Group, group_runs
from dermaexp.compare.notes import with_peculiarities
from dermaexp.compare.settings import TARGET, varied_keys
from dermaexp.compare.significance import Evidence, weigh
from dermaexp.metrics.baseline import Baseline, baseline_of
from dermaexp.runs.collect import Run, read_runs

SEEDS = (
    "Best first, by the mean val macro AUROC over a group's seeds; ± is the standard deviation "
    "over the seeds."
)
FOLDS = (
    "Cross-validated: a score is the mean over the folds, of each fold the mean over its seeds; ± "
    "is the standard deviation over the folds. Best first, by val macro AUROC."
)


@dataclass(frozen=True)
class Table:
    """The groups that were tested on the same images, the best by mean val macro AUROC first."""

    title: str
    data: str  # the data's name, or names
    images: int  # tested on
    synthetic: bool  # at least in part
    groups: tuple[Group, ...]
    baselines: tuple[Baseline, ...]
    evidence: Evidence

    @property
    def cross_validated(self) -> bool:
        return bool(self.groups[0].folds)

    @property
    def subject(self) -> str:
        """The data, and which folds of them."""
        return _subject(self.groups)

    @property
    def unit(self) -> str:
        """Over which the scores of a group are spread: "seed" or "fold"."""
        return "fold" if self.cross_validated else "seed"

    @property
    def replicates(self) -> str:
        """Of what a group has several runs."""
        return "folds and seeds" if self.cross_validated else "seeds"

    @property
    def reading(self) -> str:
        """How to read its scores."""
        return FOLDS if self.cross_validated else SEEDS

    @property
    def source(self) -> tuple:
        """What its test images are of: the same for tables of other folds of the same data."""
        run = self.groups[0].runs[0]
        if self.cross_validated:
            return run.source_fingerprint, run.grouping_fingerprint, run.split["folds"]
        return run.tested_on

    @property
    def notes(self) -> list[str]:
        """All that a reader must know before believing the table."""
        of_groups = [f"{group.label}: {note}" for group in self.groups for note in group.notes]
        return [*of_groups, *self.evidence.notes]


@dataclass(frozen=True)
class Comparison:
    """All tables; `varied` maps the keys that the groups vary to short headings.

    `left_out` are the runs that did not finish or cannot be compared, with their reasons; all were
    found in or below `folders`.
    """

    folders: tuple[Path, ...]
    tables: tuple[Table, ...]
    varied: dict[str, str]
    left_out: tuple[Run, ...]

    @property
    def runs(self) -> list[Run]:
        """All that are in a table."""
        return [run for table in self.tables for group in table.groups for run in group.runs]

    @property
    def damaged(self) -> list[Run]:
        """Those of them that have a file which cannot be read."""
        return [run for run in self.runs if run.damage]

    @property
    def has_folds(self) -> bool:
        """Whether any run, compared or not, was tested on a fold."""
        return any(run.fold is not None for run in (*self.runs, *self.left_out))

    @property
    def warning(self) -> str:
        """That folds, or folds and the official split, were tested on other images; or nothing."""
        if len(self.tables) < 2 or not any(table.cross_validated for table in self.tables):
            return ""
        return (
            f"The {len(self.tables)} tables are of other test images: numbers of one table say "
            "nothing beside those of another."
        )


def comparison_of(folders: Sequence[Path]) -> Comparison:
    """Read and compare every run in or below the `folders`; UserError where there is none.

    Runs that were tested on other images stand in another table: they have no common order.
    """
    runs = read_runs(folders)
    compared = [run for run in runs if run.compared]
    by_test: dict[tuple, list[Group]] = {}
    for group in group_runs(compared):
        by_test.setdefault(group.tested_on, []).append(group)
    titles = _titles(list(by_test.values()))
    tables = [_table(title, groups) for title, groups in zip(titles, by_test.values(), strict=True)]
    return Comparison(
        tuple(folders),
        tuple(tables),
        _headings(list(varied_keys(compared))),
        tuple(run for run in runs if not run.compared),
    )


def _table(title: str, groups: Sequence[Group]) -> Table:
    noted = with_peculiarities(groups)
    found = [baseline_of(*(fold[0].metrics for fold in group.by_fold)) for group in noted]
    baselines = {baseline.answers: baseline for baseline in found}
    return Table(
        title,
        _data(groups),
        _images(groups[0]),
        any(group.runs[0].data.get("synthetic") for group in groups),
        tuple(noted),
        tuple(baselines.values()),
        weigh(noted),
    )


def _titles(tables: Sequence[Sequence[Group]]) -> list[str]:
    titles = []
    for groups in tables:
        titles.append(f"Leaderboard on {_subject(groups)}, {_images(groups[0]):,} test images")
        if titles[-1] in titles[:-1]:  # other content under the same name
            titles[-1] += f" {groups[0].tested_on[0][1][:8]}"
    return titles


def _images(group: Group) -> int:
    return sum(images for _, _, images in group.tested_on)


def _subject(groups: Sequence[Group]) -> str:
    return ", ".join(filter(None, (_data(groups), groups[0].cross_validation)))


def _data(groups: Sequence[Group]) -> str:
    return " and ".join(dict.fromkeys(group.data for group in groups))


def _headings(keys: Sequence[str]) -> dict[str, str]:
    """Each key's last part, or all of it where that says too little or two keys end alike."""
    leaves = [key.rpartition(".")[2] for key in keys]
    return {
        key: leaf if leaves.count(leaf) == 1 and leaf != TARGET else key
        for key, leaf in zip(keys, leaves, strict=True)
    }
