"""Figures of a split's probabilities: ROC and precision-recall curves, and reliability.

`y_true` (N,) int indexes the classes, or holds indicators (N, L) of several labels an image;
`y_score` (N, K) holds their probabilities. Those with one panel also plot on the axes `ax` of a
caller, and then return the figure of `ax`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from sklearn.metrics import precision_recall_curve, roc_curve

from dermaexp.core.text import percent
from dermaexp.metrics import classification, curves
from dermaexp.metrics.intervals import wilson_interval
from dermaexp.metrics.labels import indicators
from dermaexp.report.style import (
    BLUE,
    COLORS,
    GRAY,
    ORANGE,
    SMALL,
    TEXT,
    figure_of,
    label_percent,
    plain_text,
    put_title,
    white_grid,
    wrap,
)

STYLES = ("-", "--")  # the second where there are more classes than colours
NAME_WIDTH = 30  # letters
CONFIDENCE = "confidence (probability of the predicted class)"


@plain_text
def roc_curves(
    y_true: np.ndarray,
    y_score: np.ndarray,
    classes: Sequence[str],
    *,
    marked: Mapping[str, tuple[float, float]],
    title: str,
    ax: Axes | None = None,
) -> Figure:
    """Plot the ROC curve of each class against the rest, and a line at 95 % specificity.

    `marked` maps a class to the (sensitivity, specificity) of its operating point.
    """
    axes = ax or _square_axes(classes)
    _label_shares(axes, "false positive rate (1 - specificity)", "sensitivity (recall)")
    aurocs = classification.class_auroc(y_true, y_score)
    entries = []
    for label, name in enumerate(classes):
        is_class = indicators(y_true, len(classes))[:, label]
        if np.isnan(aurocs[label]):
            entries.append(_absent(name, is_class))
            continue
        width, text = 3.5 if name in marked else 2, f"{wrap(name, NAME_WIDTH)}  {aurocs[label]:.3f}"
        fpr, tpr, _ = roc_curve(is_class, y_score[:, label], drop_intermediate=False)
        entries += axes.plot(fpr, tpr, **_look(label), linewidth=width, label=text)
        if name in marked:
            sensitivity, specificity = marked[name]
            text = f"{name}, threshold chosen on val:\nsensitivity {percent(sensitivity)}, "
            text += f"specificity {percent(specificity)}"
            axes.plot(1 - specificity, sensitivity, "o", color="black", markersize=9, zorder=4)
            axes.annotate(
                text,
                (1 - specificity, sensitivity),
                (0.5, 0.12),
                fontsize=SMALL,
                arrowprops={"arrowstyle": "-", "color": GRAY},
            )
    axes.plot((0, 1), (0, 1), color=GRAY, linestyle=":", linewidth=1.5)
    entries.append(
        axes.axvline(
            1 - curves.SPECIFICITY,
            color=GRAY,
            linewidth=1,
            label=f"{percent(curves.SPECIFICITY, 0)} specificity",
        )
    )
    _add_legend(axes, entries, f"{_kind(y_true)} and AUROC")
    put_title(title, figure_of(axes), ax)
    return figure_of(axes)


@plain_text
def precision_recall_curves(
    y_true: np.ndarray,
    y_score: np.ndarray,
    classes: Sequence[str],
    *,
    title: str,
    ax: Axes | None = None,
) -> Figure:
    """Plot precision over recall of each class against the rest; dotted: its share of the images.

    The legend has each class's average precision.
    """
    axes = ax or _square_axes(classes)
    _label_shares(axes, "recall (sensitivity)", "precision")
    entries = []
    for label, name in enumerate(classes):
        is_class = indicators(y_true, len(classes))[:, label]
        if not is_class.any():
            entries.append(_absent(name, is_class))
            continue
        precision, recall, _ = precision_recall_curve(is_class, y_score[:, label])
        precision[-1] = precision[-2]  # not 1, which no threshold reaches
        prevalence = is_class.mean()
        average = curves.average_precision(is_class, y_score[:, label])
        score = f"{average:.3f} ({percent(prevalence)})"
        text, look = f"{wrap(name, NAME_WIDTH)}  {score}", _look(label)
        # Up to each point its own precision holds: the area under the steps is the AP.
        steps = recall[::-1], precision[::-1]
        entries += axes.step(*steps, where="pre", **look, linewidth=2, label=text)
        axes.axhline(prevalence, color=look["color"], linestyle=":", linewidth=1.2, zorder=1)
    heading = f"{_kind(y_true)}, average precision and share of the images (dotted)"
    _add_legend(axes, entries, heading)
    put_title(title, figure_of(axes), ax)
    return figure_of(axes)


@plain_text
def reliability(y_true: np.ndarray, y_scores: Mapping[str, np.ndarray], *, title: str) -> Figure:
    """Plot accuracy over confidence in 15 bins, and below it the number of images in each bin.

    Of several labels an image, plot the share of labels that are there over their probability.
    `y_scores` maps a name, such as raw or calibrated, to probabilities (N, K): a column each.
    """
    width, height = 1.2 + 5.6 * len(y_scores), 7
    figure = Figure(figsize=(width, height))
    places = {"left": 0.95 / width, "right": 1 - 0.25 / width, "bottom": 0.1, "top": 0.87}
    with white_grid():
        rows = figure.subplots(
            *(2, len(y_scores)),
            sharex=True,
            sharey="row",
            squeeze=False,
            gridspec_kw={**places, "wspace": 0.09, "hspace": 0.1, "height_ratios": (3, 1)},
        )
    several = y_true.ndim == 2
    for (name, y_score), above, below in zip(y_scores.items(), *rows, strict=True):
        _plot_bins(above, y_true, y_score)
        error = classification.expected_calibration_error(y_true, y_score)
        above.set_title(f"{name}: ECE {error:.3f}", fontsize=TEXT)
        edges = np.linspace(0, 1, classification.BINS + 1)
        below.hist(y_score.ravel() if several else y_score.max(axis=1), edges, color=BLUE)
        words = "probability of a label" if several else CONFIDENCE
        below.set_xlabel(words, fontsize=TEXT)
        label_percent(below.xaxis)
        for axes in (above, below):
            axes.tick_params(labelsize=SMALL)
    rows[0, 0].set_ylabel("share that is present" if several else "accuracy", fontsize=TEXT)
    label_percent(rows[0, 0].yaxis)
    rows[1, 0].set_ylabel("labels" if several else "images", fontsize=TEXT)
    rows[0, 0].legend(fontsize=SMALL, loc="upper left")
    put_title(title, figure)
    return figure


def _plot_bins(axes: Axes, y_true: np.ndarray, y_score: np.ndarray) -> None:
    """Plot bars of accuracy with 95 % Wilson intervals, the diagonal, each bin's confidence."""
    samples, confidence, accuracy = classification.reliability(y_true, y_score)
    filled = np.flatnonzero(samples)
    hits = (accuracy * samples[filled]).round()
    bounds = np.array([wilson_interval(*pair) for pair in zip(hits, samples[filled], strict=True)])
    width = 1 / classification.BINS
    centres = (filled + 0.5) * width
    several = y_true.ndim == 2
    share, mean = ("share", "probability") if several else ("accuracy", "confidence")
    axes.bar(centres, accuracy, width, color=BLUE, edgecolor="white", label=share)
    errors = np.abs(bounds.T - accuracy)
    axes.errorbar(centres, accuracy, errors, fmt="none", ecolor="black", capsize=3)
    label = f"mean {mean} of the bin"
    axes.plot(confidence, confidence, "D", color=ORANGE, markersize=6, label=label)
    label = f"{mean} = {share}"
    axes.plot((0, 1), (0, 1), color=GRAY, linestyle=":", linewidth=1.5, label=label)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)


def _kind(y_true: np.ndarray) -> str:
    return "label" if y_true.ndim == 2 else "class"


def _square_axes(classes: Sequence[str]) -> Axes:
    """Return square axes in a figure of their own, with room for a legend of `classes` beside."""
    lines = sum(wrap(name, NAME_WIDTH).count("\n") + 1 for name in classes)
    width, side, left, top = 10.9, 5.7, 0.85, 0.6  # inches
    height = max(top + side + 0.7, 2 + 0.12 * len(classes) + 0.18 * lines)
    # Placed in inches: a layout that finds its own places takes as long again to render.
    place = (left / width, 1 - (top + side) / height, side / width, side / height)
    with white_grid():
        return Figure(figsize=(width, height)).add_axes(place)


def _label_shares(axes: Axes, x_label: str, y_label: str) -> None:
    """Label axes that both go from 0 to 1."""
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.set_xlabel(x_label, fontsize=TEXT)
    axes.set_ylabel(y_label, fontsize=TEXT)
    axes.tick_params(labelsize=SMALL)


def _look(label: int) -> dict[str, Any]:
    """Return the colour and style of the line of class `label`."""
    cycle, color = divmod(label, len(COLORS))
    return {"color": COLORS[color], "linestyle": STYLES[cycle % len(STYLES)]}


def _absent(name: str, is_class: np.ndarray) -> Line2D:
    """Return the legend's entry of a class that has no curve, which says why."""
    why = "all images" if is_class.any() else "no images"
    return Line2D([], [], linestyle="none", label=f"{wrap(name, NAME_WIDTH)}  {why}")


def _add_legend(axes: Axes, entries: Sequence[Line2D], heading: str) -> None:
    """Add the legend under its `heading`, right of the axes."""
    axes.legend(
        handles=entries,
        title=wrap(heading, NAME_WIDTH),
        loc="upper left",
        bbox_to_anchor=(1.02, 1.02),
        fontsize=SMALL,
        title_fontsize=TEXT,
        alignment="left",
        labelspacing=0.8,
        frameon=False,
    )
