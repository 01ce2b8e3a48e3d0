"""Figures of the stored probabilities: ROC, precision-recall and reliability, all of one split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from dermaexp.metrics import classification, curves
from dermaexp.metrics.intervals import wilson_interval
from dermaexp.report.style import BLUE, GRAY, ORANGE, SMALL, TEXT, TITLE, wrap

COLORS = sns.color_palette("colorblind")
STYLES = ("-", "--")  # the second where there are more classes than colours
NAME_WIDTH = 30  # letters


def roc_curves(
    targets: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    *,
    marked: Mapping[str, tuple[float, float]],
    title: str,
) -> Figure:
    """Each class against the rest, with its AUROC; a line at 95 % specificity.

    `marked` holds the sensitivity and specificity of a class's operating point, chosen elsewhere.
    """
    figure, axes = _square("false positive rate (1 - specificity)", "sensitivity (recall)", classes)
    aurocs = classification.class_auroc(targets, probabilities)
    entries = []
    for label, name in enumerate(classes):
        points = curves.thresholds(targets == label, probabilities[:, label])
        if np.isnan(aurocs[label]):
            entries.append(_absent(name, points))
            continue
        (line,) = axes.plot(*curves.roc_curve(points), **_look(label, name in marked))
        line.set_label(f"{wrap(name, NAME_WIDTH)}  {aurocs[label]:.3f}")
        entries.append(line)
        if name in marked:
            sensitivity, specificity = marked[name]
            told = f"{name}, threshold of val:\nsensitivity {sensitivity:.1%}, "
            told += f"specificity {specificity:.1%}"
            axes.plot(1 - specificity, sensitivity, "o", color="black", markersize=9, zorder=4)
            axes.annotate(
                told,
                (1 - specificity, sensitivity),
                (0.5, 0.12),
                fontsize=SMALL,
                arrowprops={"arrowstyle": "-", "color": GRAY},
            )
    axes.plot((0, 1), (0, 1), color=GRAY, linestyle=":", linewidth=1.5)
    label = f"{curves.SPECIFICITY:.0%} specificity"
    entries.append(axes.axvline(1 - curves.SPECIFICITY, color=GRAY, linewidth=1, label=label))
    _finish(axes, entries, "class and AUROC", title)
    return figure


def precision_recall_curves(
    targets: np.ndarray, probabilities: np.ndarray, classes: Sequence[str], *, title: str
) -> Figure:
    """Each class against the rest, with its average precision; dotted: its share of the images."""
    figure, axes = _square("recall (sensitivity)", "precision", classes)
    entries = []
    for label, name in enumerate(classes):
        points = curves.thresholds(targets == label, probabilities[:, label])
        if not points.positives:
            entries.append(_absent(name, points))
            continue
        precision, recall = curves.precision_recall_curve(points)
        look = _look(label, False)
        # Up to each point its own precision holds: the area under the steps is the AP.
        (line,) = axes.step(
            np.append(0.0, recall), np.append(precision[0], precision), where="pre", **look
        )
        prevalence = points.positives / len(targets)
        axes.axhline(prevalence, color=look["color"], linestyle=":", linewidth=1.2, zorder=1)
        score = f"{curves.average_precision(points):.3f} ({prevalence:.1%})"
        line.set_label(f"{wrap(name, NAME_WIDTH)}  {score}")
        entries.append(line)
    _finish(axes, entries, "class, average precision and share of the images (dotted)", title)
    return figure


def reliability(targets: np.ndarray, versions: Mapping[str, np.ndarray], *, title: str) -> Figure:
    """Accuracy over confidence in 15 bins, and below it how many images are how confident.

    `versions` holds probabilities (N, K) by name, such as raw and calibrated, side by side.
    """
    width, height = 1.2 + 5.6 * len(versions), 7
    figure = Figure(figsize=(width, height))
    places = {"left": 0.95 / width, "right": 1 - 0.25 / width, "bottom": 0.1, "top": 0.87}
    with sns.axes_style("whitegrid"):
        rows = figure.subplots(
            *(2, len(versions)),
            sharex=True,
            sharey="row",
            squeeze=False,
            gridspec_kw={**places, "wspace": 0.09, "hspace": 0.1, "height_ratios": (3, 1)},
        )
    for (name, probabilities), above, below in zip(versions.items(), *rows, strict=True):
        _reliability(above, targets, probabilities)
        error = classification.expected_calibration_error(targets, probabilities)
        above.set_title(f"{name}: ECE {error:.3f}", fontsize=TEXT)
        edges = np.linspace(0, 1, classification.BINS + 1)
        below.hist(probabilities.max(axis=1), edges, color=BLUE)
        below.set_xlabel("confidence (probability of the answer)", fontsize=TEXT)
        below.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        for axes in (above, below):
            axes.tick_params(labelsize=SMALL)
    rows[0, 0].set_ylabel("accuracy", fontsize=TEXT)
    rows[0, 0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    rows[1, 0].set_ylabel("images", fontsize=TEXT)
    rows[0, 0].legend(fontsize=SMALL, loc="upper left")
    _head(figure, title)
    return figure


def _reliability(axes: Axes, targets: np.ndarray, probabilities: np.ndarray) -> None:
    """Bars of accuracy with 95 % Wilson intervals, the diagonal, and each bin's confidence."""
    samples, confidence, accuracy = classification.reliability(targets, probabilities)
    filled = samples > 0
    samples, confidence, accuracy = samples[filled], confidence[filled], accuracy[filled]
    hits = (accuracy * samples).round()
    bounds = np.array([wilson_interval(*pair) for pair in zip(hits, samples, strict=True)])
    width = 1 / classification.BINS
    centres = (np.flatnonzero(filled) + 0.5) * width
    axes.bar(centres, accuracy, width, color=BLUE, edgecolor="white", label="accuracy")
    errors = np.abs(bounds.T - accuracy)
    axes.errorbar(centres, accuracy, errors, fmt="none", ecolor="black", capsize=3)
    axes.plot(
        confidence, confidence, "D", color=ORANGE, markersize=6, label="mean confidence of the bin"
    )
    axes.plot(
        (0, 1), (0, 1), color=GRAY, linestyle=":", linewidth=1.5, label="confidence = accuracy"
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)


def _square(x_label: str, y_label: str, classes: Sequence[str]) -> tuple[Figure, Axes]:
    """A figure with one square axes from 0 to 1, and right of it room for a legend of `classes`."""
    lines = sum(wrap(name, NAME_WIDTH).count("\n") + 1 for name in classes)
    width, side, left, top = 10.9, 5.7, 0.85, 0.6  # inches
    height = max(top + side + 0.7, 2 + 0.12 * len(classes) + 0.18 * lines)
    # Placed in inches: a layout that finds its own places takes as long again to draw.
    figure = Figure(figsize=(width, height))
    with sns.axes_style("whitegrid"):
        axes = figure.add_axes(
            (left / width, 1 - (top + side) / height, side / width, side / height),
            xlim=(-0.01, 1.01),
            ylim=(-0.01, 1.01),
        )
    axes.set_xlabel(x_label, fontsize=TEXT)
    axes.set_ylabel(y_label, fontsize=TEXT)
    axes.tick_params(labelsize=SMALL)
    return figure, axes


def _look(label: int, highlighted: bool) -> dict[str, object]:
    cycle, color = divmod(label, len(COLORS))
    return {
        "color": COLORS[color],
        "linestyle": STYLES[cycle % len(STYLES)],
        "linewidth": 3.5 if highlighted else 2,
    }


def _absent(name: str, points: curves.Thresholds) -> Line2D:
    """The legend's entry of a class that has no curve, which says why."""
    why = "all images" if points.positives else "no images"
    return Line2D([], [], linestyle="none", label=f"{wrap(name, NAME_WIDTH)}  {why}")


def _finish(axes: Axes, entries: Sequence[Line2D], heading: str, title: str) -> None:
    """The legend under its `heading`, beside the axes, and the title."""
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
    _head(axes.figure, title)


def _head(figure: Figure, title: str) -> None:
    figure.text(
        0.5, 1 - 0.3 / figure.get_figheight(), title, ha="center", va="center", fontsize=TITLE
    )
