"""The figures of a comparison table, with captions."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from dermaexp.compare import plots, search_plots
from dermaexp.compare.comparison import Table
from dermaexp.compare.plots import Line
from dermaexp.compare.run_groups import RunGroup
from dermaexp.compare.search import (
    Search,
    numbers,
    pruned,
    scores,
    why_no_history,
    why_no_importances,
)
from dermaexp.compare.varied_keys import overrides_text, value_text
from dermaexp.metrics import classification, resampling
from dermaexp.metrics.names import METRICS
from dermaexp.report import label_plots

QUANTITIES = {  # of the effects: label -> split and metric
    f"{split} {METRICS[metric].label}": (split, metric)
    for split, metric in (("val", "macro_auroc"), ("test", "accuracy"))
}
MOST_ROWS = 100  # of run groups in a figure: no renderer has room for thousands


@dataclass(frozen=True)
class CaptionedFigure:
    """A figure with the name of its file and its caption."""

    name: str
    figure: Figure
    caption: str


def captioned_figures(
    table: Table, intervals: Mapping[str, tuple[float, float]], headings: Mapping[str, str]
) -> Iterator[CaptionedFigure]:
    """Yields every figure that the table has data for.

    `intervals` are those of test accuracy by group label; `headings` names the varied keys.
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


def search_figures(search: Search) -> Iterator[CaptionedFigure]:
    """Yields the figures that the search has enough trials for."""
    found, ended = scores(search), pruned(search)
    if not why_no_history(search):
        yield CaptionedFigure(
            "search_history",
            search_plots.search_history(
                found,
                numbers(search, "fail"),
                {one["number"]: one["value"] for one in ended if one["value"] is not None},
                title=f"Search on {search['data']}",
            ),
            "The val macro AUROC of every finished trial, and the best of all trials up to each."
            + (" A pruned trial stands at its last value and is never the best." if ended else ""),
        )
    if not why_no_importances(search):
        yield CaptionedFigure(
            "search_importances",
            search_plots.search_importances(
                search["importances"], title=f"Importance of the config keys on {search['data']}"
            ),
            "How much each config key alone contributes to the variance of val macro AUROC, as a "
            "share of all contributions: fANOVA by Optuna, estimated from "
            f"{len(found)} finished trials and rough where they are few.",
        )


def _accuracies(table: Table, intervals: Mapping[str, tuple[float, float]]) -> CaptionedFigure:
    figure = plots.group_accuracies(
        {group.label: _numbers(group.scores("test", "accuracy")) for group in _rows(table)},
        intervals,
        {baseline.label: baseline.scores["accuracy"] for baseline in table.baselines},
        title=f"Test accuracy on {table.subject}{_left_out(table)}",
        unit=table.unit,
    )
    caption = f"Accuracy on the {table.images:,} test images, the best run group by val first."
    caption += _folds_caption(table) if table.cross_validated else _seeds_caption(table)
    if any(math.isnan(low) for low, _ in intervals.values()):
        caption += f" There is no interval without predictions.npz of every {table.unit}."
    caption += (
        " Intervals of two run groups may overlap even if they differ significantly, as both "
    )
    caption += "predict the same images."
    return CaptionedFigure("test_accuracy", figure, caption)


def _rows(table: Table) -> tuple[RunGroup, ...]:
    """The best run groups, as many as a figure has rows for."""
    return table.groups[:MOST_ROWS]


def _left_out(table: Table) -> str:
    """The end of the title of a figure that has no row for some run groups."""
    groups = len(table.groups)
    return f" (the best {MOST_ROWS} of {groups:,} by val)" if groups > MOST_ROWS else ""


def _seeds_caption(table: Table) -> str:
    """Explains the dots and lines of the accuracies."""
    several = [group for group in table.groups if group.runs_per_fold > 1]
    caption = ""
    if several:
        caption += (
            " A large dot is the mean over a run group's seeds, a small dot a single seed. The "
            "line is the 95 % interval of the mean and covers other images and other seeds: the "
            f"middle 95 % of {resampling.RESAMPLES:,} bootstrap resamples of the images, with "
            "noise for the choice of seeds (standard error over seeds times Student's t)."
        )
    if len(several) < len(table.groups):
        whose = "For a run group with one seed it" if several else "The line"
        caption += (
            f" {whose} is the 95 % Wilson interval, which covers other images but not other seeds."
        )
    return caption


def _folds_caption(table: Table) -> str:
    """Explains the dots and lines of the accuracies in cross-validation."""
    caption = (
        " A large dot is the mean over the folds, a small dot the mean over one fold's seeds. The "
        "line is the 95 % interval of the mean and covers other test images, not other training "
        f"images: the middle 95 % of {resampling.RESAMPLES:,} bootstrap resamples of the images "
        "within each fold."
    )
    if any(group.runs_per_fold > 1 for group in table.groups):
        caption += (
            " For a run group with several seeds, noise for their choice was added to each "
            "resample (standard error over seeds times Student's t)."
        )
    return caption


def _curves(table: Table, histories: Mapping[str, Sequence[Sequence[dict]]]) -> CaptionedFigure:
    caption = "Accuracy, loss and macro AUROC on the validation images after every epoch."
    title = f"Validation on {table.subject}"
    if any(len(kept) > 1 for kept in histories.values()):
        title += f", mean and range over {table.repeated_over}"
        caption += f" A line is the mean over a run group's {table.repeated_over}, its band the "
        caption += "range from the lowest to the highest "
        caption += "run." if table.cross_validated else "seed."
    if len(histories) < len(table.groups):
        caption += " Run groups without history.csv are missing."
    return CaptionedFigure("learning_curves", plots.group_curves(histories, title=title), caption)


def _class_accuracies(table: Table) -> CaptionedFigure:
    if table.task == "multi-label":
        return _label_aurocs(table)
    figure = plots.class_accuracies(
        {group.label: classification.recalls(group.confusion) for group in _rows(table)},
        table.groups[0].confusion.sum(axis=1) // table.groups[0].runs_per_fold,
        table.classes,
        title=f"Accuracy within each class on {table.subject}, test, %{_left_out(table)}",
    )
    pooled = " with all folds pooled," if table.cross_validated else ""
    caption = (
        f"Recall on test: the percentage of each true class that is predicted correctly,{pooled} "
        "as a mean over a run group's seeds; n is the number of test images of the class."
    )
    return CaptionedFigure("per_class_accuracy", figure, caption)


def _label_aurocs(table: Table) -> CaptionedFigure:
    """In the place of recall, which is near 0 for rare labels at a probability of 0.5."""
    best = table.groups[0]
    figure = plots.class_accuracies(
        {group.label: _mean_aurocs(group) for group in _rows(table)},
        best.confusion.sum(axis=2)[:, 1] // best.runs_per_fold,
        table.classes,
        title=f"AUROC of each label on {table.subject}, test, %{_left_out(table)}",
    )
    caption = (
        f"AUROC of each label on test in percent, as a mean over a run group's "
        f"{table.repeated_over}; n is the number of test images that have the label."
    )
    return CaptionedFigure("per_class_accuracy", figure, caption)


def _mean_aurocs(group: RunGroup) -> np.ndarray:
    """The AUROC of each label (L,), NaN where it is undefined in a run."""
    tests = [run.metrics["test"]["per_class"] for run in group.runs]
    return np.mean([_numbers([own["auroc"] for own in test.values()]) for test in tests], axis=0)


def _label_tables(table: Table) -> CaptionedFigure:
    best = table.groups[0]
    title = f"{best.label} on {table.subject}, test"
    return CaptionedFigure(
        "confusion_matrices",
        label_plots.label_tables(best.confusion, table.classes, title=title),
        f"Test images with and without each label, by the best run group over its "
        f"{table.repeated_over}: a row is what is true, with percentages of it, a column what is "
        "predicted at a probability of 0.5.",
    )


def _confusion_matrices(table: Table) -> CaptionedFigure:
    if table.task == "multi-label":
        return _label_tables(table)
    best = table.groups[:2]
    figure = plots.confusion_matrices(
        {group.label: group.confusion for group in best},
        table.classes,
        title=f"Confusion on {table.subject}, test" + (", the best two by val" if best[1:] else ""),
    )
    caption = f"Percentage of each true class, and counts over a run group's {table.repeated_over}."
    return CaptionedFigure("confusion_matrices", figure, caption)


def _effects(table: Table, lines: Mapping[str, Sequence[Line]]) -> CaptionedFigure:
    caption = (
        f"Every run group by each config key that varies: the mean over its {table.unit}s, with "
        f"single {table.unit}s as small dots. A line joins run groups that differ in this key "
        "only. Choose values on val, not on test."
    )
    return CaptionedFigure(
        "effects",
        plots.effects(lines, title=f"Effect of each config key on {table.subject}"),
        caption,
    )


def _lines(groups: Sequence[RunGroup], key: str) -> list[Line]:
    """Joins the groups that have the key and differ in nothing else."""
    together: dict[tuple[str, str], list[RunGroup]] = {}
    for group in groups:
        if key in group.varied:
            others = json.dumps(_without(group, key), sort_keys=True)
            together.setdefault((others, group.runs[0].source_fingerprint), []).append(group)
    return [
        Line(
            overrides_text(_without(alike[0], key)),
            [group.varied[key] for group in alike],
            {
                quantity: [_numbers(group.scores(*score)) for group in alike]
                for quantity, score in QUANTITIES.items()
            },
        )
        for alike in together.values()
    ]


def _values(lines: Sequence[Line]) -> int:
    return len({value_text(value) for line in lines for value in line.values})


def _without(group: RunGroup, key: str) -> dict[str, object]:
    return {other: value for other, value in group.varied.items() if other != key}


def _numbers(scores: Sequence[float | None]) -> list[float]:
    """The scores, NaN where undefined."""
    return [math.nan if score is None else score for score in scores]
