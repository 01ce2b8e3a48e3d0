"""The figures of a table of groups: which there are, of what, and what stands below them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from dermaexp.compare import plots
from dermaexp.compare.comparison import Table
from dermaexp.compare.groups import Group
from dermaexp.compare.plots import Line
from dermaexp.compare.settings import settings_text, value_text
from dermaexp.metrics import classification, significance

QUANTITIES = {
    "val macro AUROC": ("val", "macro_auroc"),
    "test accuracy": ("test", "accuracy"),
}
NAMES = (  # of all that there may be
    "test_accuracy",
    "learning_curves",
    "per_class_accuracy",
    "confusion_matrices",
    "effects",
)


@dataclass(frozen=True)
class Drawing:
    """A figure, the name of its file, and the caption."""

    name: str
    figure: Figure
    caption: str


def drawings(
    table: Table, intervals: Mapping[str, tuple[float, float]], headings: Mapping[str, str]
) -> Iterator[Drawing]:
    """Every figure that the table has something for, one after the other.

    `intervals` are those of each group's test accuracy, by label; `headings` name the varied keys.
    """
    yield _accuracies(table, intervals)
    histories = {
        group.label: kept
        for group in table.groups
        if (kept := [history for run in group.runs if (history := run.history())])
    }
    if histories:
        yield _curves(table, histories)
    yield _class_accuracies(table)
    yield _confusion_matrices(table)
    lines = {heading: _lines(table.groups, key) for key, heading in headings.items()}
    varied = {heading: found for heading, found in lines.items() if _values(found) > 1}
    if varied:
        yield _effects(table, varied)


def _accuracies(table: Table, intervals: Mapping[str, tuple[float, float]]) -> Drawing:
    figure = plots.group_accuracies(
        {group.label: group.scores("test", "accuracy") for group in table.groups},
        intervals,
        {baseline.label: baseline.scores["accuracy"] for baseline in table.baselines},
        title=f"Test accuracy on {table.subject}",
        unit=table.unit,
    )
    caption = f"Accuracy on the {table.images:,} test images, the best group by val first."
    caption += _of_folds(table) if table.cross_validated else _of_seeds(table)
    if any(math.isnan(low) for low, _ in intervals.values()):
        caption += f" Without predictions.npz of every {table.unit} there is no interval."
    caption += " Intervals of single groups may overlap although their difference is shown: the "
    caption += "groups answer the same images."
    return Drawing("test_accuracy", figure, caption)


def _of_seeds(table: Table) -> str:
    """What the dots and lines of the accuracies are."""
    several = [group for group in table.groups if group.replicates > 1]
    caption = ""
    if several:
        caption += (
            " A large dot is the mean over a group's seeds, a small one a single seed. The line is "
            "the 95 % interval of the mean for other images and other seeds: the middle 95 % of "
            f"{significance.DRAWS:,} bootstrap draws of the images, to each of which the chance of "
            "the seeds was added (standard error over the seeds times Student's t)."
        )
    if len(several) < len(table.groups):
        whose = "Of a group with one seed it" if several else "The line"
        caption += (
            f" {whose} is the 95 % Wilson interval, for other images and the same net: one seed "
            "tells nothing of others."
        )
    return caption


def _of_folds(table: Table) -> str:
    """The same in cross-validation."""
    caption = (
        " A large dot is the mean over the folds, a small one a single fold, the mean over its "
        "seeds. The line is the 95 % interval of the mean for other test images, not for other "
        f"training images: the middle 95 % of {significance.DRAWS:,} bootstrap draws of the images "
        "within each fold."
    )
    if any(group.replicates > 1 for group in table.groups):
        caption += (
            " Where a group has several seeds, the chance of the seeds was added to each draw "
            "(standard error over the seeds times Student's t)."
        )
    return caption


def _curves(table: Table, histories: Mapping[str, Sequence[Sequence[dict]]]) -> Drawing:
    caption = "Accuracy, loss and macro AUROC on the validation images after every epoch."
    title = f"Validation on {table.subject}"
    if any(len(kept) > 1 for kept in histories.values()):
        title += f", mean and range over {table.replicates}"
        caption += f" A line is the mean over a group's {table.replicates}, its band from the "
        caption += "lowest to the highest " + ("run." if table.cross_validated else "seed.")
    if len(histories) < len(table.groups):
        caption += " Groups that kept no history.csv are missing."
    return Drawing("learning_curves", plots.group_curves(histories, title=title), caption)


def _class_accuracies(table: Table) -> Drawing:
    figure = plots.class_accuracies(
        {group.label: classification.recalls(group.confusion) for group in table.groups},
        _samples(table.groups[0]),
        _classes(table),
        title=f"Accuracy within each class on {table.subject}, test, %",
    )
    pooled = "of all folds together, " if table.cross_validated else ""
    caption = (
        f"Percentage of each true class that was recognised on test (recall), {pooled}the mean "
        "over a group's seeds; n is the number of test images of the class."
    )
    return Drawing("per_class_accuracy", figure, caption)


def _confusion_matrices(table: Table) -> Drawing:
    best = table.groups[:2]
    figure = plots.confusion_matrices(
        {group.label: group.confusion for group in best},
        _classes(table),
        title=f"Confusion on {table.subject}, test" + (", the best two by val" if best[1:] else ""),
    )
    caption = f"Percentage of each true class, and counts over all {table.replicates} of a group."
    return Drawing("confusion_matrices", figure, caption)


def _effects(table: Table, lines: Mapping[str, Sequence[Line]]) -> Drawing:
    caption = (
        f"Every group against each setting that varies: the mean over its {table.unit}s, single "
        f"{table.unit}s as small dots. A line joins groups that differ in that setting alone. "
        "Settings are chosen on val; what test says of them is no reason to choose."
    )
    return Drawing(
        "effects", plots.effects(lines, title=f"Effect of each setting on {table.subject}"), caption
    )


def _lines(groups: Sequence[Group], key: str) -> list[Line]:
    """The groups that have the setting, together those that differ in nothing else."""
    together: dict[tuple[str, str], list[Group]] = {}
    for group in groups:
        if key in group.settings:
            others = json.dumps(_without(group, key), sort_keys=True)
            together.setdefault((others, group.runs[0].source_fingerprint), []).append(group)
    return [
        Line(
            settings_text(_without(alike[0], key)),
            [group.settings[key] for group in alike],
            {
                quantity: [[_number(one) for one in group.scores(*score)] for group in alike]
                for quantity, score in QUANTITIES.items()
            },
        )
        for alike in together.values()
    ]


def _values(lines: Sequence[Line]) -> int:
    return len({value_text(value) for line in lines for value in line.values})


def _without(group: Group, key: str) -> dict[str, object]:
    return {other: value for other, value in group.settings.items() if other != key}


def _number(score: float | None) -> float:
    return math.nan if score is None else score


def _classes(table: Table) -> list[str]:
    return table.groups[0].runs[0].metrics["data"]["classes"]


def _samples(group: Group) -> np.ndarray:
    """Test images of each class (K,)."""
    return group.confusion.sum(axis=1) // group.replicates
