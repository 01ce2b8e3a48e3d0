"""Figures of several run groups, the best first: arrays in, a matplotlib Figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from dermaexp.compare.varied_keys import value_text
from dermaexp.core.text import percent
from dermaexp.metrics.names import labels_of
from dermaexp.report.style import (
    BLUE,
    COLORS,
    DARK,
    ORANGE,
    SMALL,
    TEXT,
    TITLE,
    label_epochs,
    label_percent,
    new_figure,
    plain_text,
    white_grid,
    wrap,
)

NAMED_GROUPS = 20  # distinguished by ten colours and two line styles
LEGEND_LETTERS = 125  # that fit below a figure 14.5 inches wide
LABEL_LETTERS = 36  # in a line of a group's label beside its row
NAMED_LINES = 8  # that a legend beside a panel has room for
UPRIGHT_CLASSES = 7  # whose names have room below their columns
TICKS = 8  # at the values of a key; with more values, ticks are at round numbers


@dataclass(frozen=True)
class Line:
    """Run groups that differ in one config key only: its values, and each group's scores.

    `scores` holds a sequence per value for each quantity, NaN where undefined.
    """

    label: str
    values: Sequence[Any]
    scores: Mapping[str, Sequence[Sequence[float]]]


@plain_text
def group_curves(
    histories: Mapping[str, Sequence[Sequence[Mapping[str, float]]]], *, title: str
) -> Figure:
    """Val accuracy, val loss and val macro AUROC of several run groups, the best first.

    A line is the mean over the group's histories up to the end of the shortest; its band is their
    range. The legend names as many groups as can be distinguished; the others are gray.
    """
    colors = COLORS
    styles = [("o-", color) for color in colors] + [("s--", color) for color in colors]
    styles += [("-", "0.8")] * len(histories)
    named = list(histories)[:NAMED_GROUPS]
    columns = max(1, min(3, LEGEND_LETTERS // max(map(len, named))))
    with white_grid():
        figure = new_figure(14.5, 4.8 + 0.3 * len(named) / columns)
        panels = figure.subplots(1, 3)
    quantities = {
        f"val_{metric}": f"val {label}"
        for metric, label in labels_of("accuracy", "loss", "macro_auroc").items()
    }
    for axes, (column, quantity) in zip(panels, quantities.items(), strict=True):
        for (group, runs), (style, color) in zip(histories.items(), styles, strict=False):
            label = group if group in named else "_other"  # "_": not in the legend
            order = 2 if group in named else 1
            epochs = [row["epoch"] for row in min(runs, key=len)]
            values = np.array([[row[column] for row in run[: len(epochs)]] for run in runs])
            mean, low, high = values.mean(axis=0), values.min(axis=0), values.max(axis=0)
            axes.plot(epochs, mean, style, color=color, label=label, markersize=4, zorder=order)
            if len(runs) > 1 and group in named:
                axes.fill_between(epochs, low, high, color=color, alpha=0.2, linewidth=0)
        label_epochs(axes, quantity)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", fontsize=TEXT, ncols=columns)
    others = len(histories) - len(named)
    heading = title + (f" (the best {NAMED_GROUPS} by name)" if others else "")
    figure.suptitle(heading, fontsize=TITLE)
    return figure


@plain_text
def group_accuracies(
    accuracies: Mapping[str, Sequence[float]],
    intervals: Mapping[str, tuple[float, float]],
    baselines: Mapping[str, float],
    *,
    title: str,
    unit: str = "seed",
) -> Figure:
    """One row per group: the mean accuracy with its interval, and a dot for each `unit`.

    Intervals of NaN are left out. Each of the `baselines` is a line across all rows.
    """
    means = np.array([np.mean(runs) for runs in accuracies.values()])
    bounds = np.array([intervals[group] for group in accuracies])
    rows = np.arange(len(means))
    with white_grid():
        figure = new_figure(12, 2.2 + 0.55 * len(means))
        axes = figure.subplots()
    for baseline, accuracy in baselines.items():
        label = f"{baseline}: {percent(accuracy)}"
        axes.axvline(accuracy, color=ORANGE, linewidth=2, label=label, zorder=1)
    has_interval = np.isfinite(bounds).all(axis=1)
    axes.hlines(
        rows[has_interval],
        *bounds[has_interval].T,
        color=BLUE,
        linewidth=2.5,
        label="95 % interval",
    )
    single = [
        (accuracy, row)
        for row, runs in zip(rows, accuracies.values(), strict=True)
        for accuracy in runs
        if len(runs) > 1
    ]
    label = f"mean of the {unit}s" if single else f"one {unit}"
    axes.plot(means, rows, "o", color=BLUE, markersize=10, label=label)
    if single:
        xs, ys = zip(*single, strict=True)
        (dots,) = axes.plot(xs, ys, "o", label=f"one {unit}", markersize=5)
        dots.set(markerfacecolor="white", markeredgecolor="black")
    for row, (mean, (low, high)) in enumerate(zip(means, bounds, strict=True)):
        text = percent(mean)
        if has_interval[row]:
            text += f"  [{percent(low)}, {percent(high)}]"
        axes.annotate(
            text,
            (1, row),
            xycoords=("axes fraction", "data"),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=TEXT,
            annotation_clip=False,
        )
    axes.set_yticks(rows, [wrap(group, LABEL_LETTERS) for group in accuracies], fontsize=SMALL)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    label_percent(axes.xaxis, decimals=None)
    axes.tick_params(axis="x", labelsize=SMALL)
    axes.set_xlabel("test accuracy", fontsize=TEXT)
    figure.legend(loc="outside lower center", fontsize=TEXT, ncols=4)
    figure.suptitle(title, fontsize=TITLE)
    return figure


@plain_text
def class_accuracies(
    recalls: Mapping[str, np.ndarray], samples: np.ndarray, classes: Sequence[str], *, title: str
) -> Figure:
    """A heatmap of recall (K,) by group label: rows are groups, columns classes with `samples`."""
    shares = 100 * np.stack(list(recalls.values()))
    upright = len(classes) <= UPRIGHT_CLASSES
    column, room = (1.35, 2.4) if upright else (0.8, 3.4)  # inches; below the rows, for names
    figure = new_figure(max(9, 4.2 + column * len(classes)), room + 0.55 * len(shares))
    axes = figure.subplots()
    _heatmap(axes, shares, [[f"{share:.1f}" for share in row] for row in shares])
    names = [
        f"{wrap(name, 15 if upright else 24)}\nn = {n:,}"
        for name, n in zip(classes, samples, strict=True)
    ]
    rotation = 0 if upright else 90
    axes.set_xticks(np.arange(len(classes)) + 0.5, names, fontsize=SMALL, rotation=rotation)
    groups = [wrap(group, LABEL_LETTERS) for group in recalls]
    axes.set_yticks(np.arange(len(groups)) + 0.5, groups, fontsize=SMALL, rotation=0)
    figure.suptitle(title, fontsize=TITLE)
    return figure


@plain_text
def confusion_matrices(
    confusions: Mapping[str, np.ndarray], classes: Sequence[str], *, title: str
) -> Figure:
    """The counts (K, K) of several groups side by side, coloured by share of each true class."""
    names = [wrap(name, 24) for name in classes]
    side = 0.8 * len(classes)
    room = 0.09 * max(len(line) for name in names for line in name.splitlines())  # inches for names
    width = len(confusions) * (side + 0.4) + room + 0.8
    figure = new_figure(max(width, 9), max(side, 2) + room + 1.8)
    panels = figure.subplots(1, len(confusions), sharey=True, squeeze=False)[0]
    for axes, (group, confusion) in zip(panels, confusions.items(), strict=True):
        samples = confusion.sum(axis=1, keepdims=True)
        shares = 100 * confusion / np.where(samples > 0, samples, np.nan)
        texts = [
            [f"{share:.0f} %\n{count:,}" for share, count in zip(*row, strict=True)]
            for row in zip(shares, confusion, strict=True)
        ]
        _heatmap(axes, shares, texts)
        axes.set_title(wrap(group, LABEL_LETTERS), fontsize=TEXT)
        axes.set_xticks(np.arange(len(names)) + 0.5, names, fontsize=SMALL, rotation=90)
        axes.set_xlabel("predicted", fontsize=TEXT)
    panels[0].set_yticks(np.arange(len(names)) + 0.5, names, fontsize=SMALL, rotation=0)
    panels[0].set_ylabel("true", fontsize=TEXT)
    figure.suptitle(title, fontsize=TITLE)
    return figure


@plain_text
def effects(lines: Mapping[str, Sequence[Line]], *, title: str) -> Figure:
    """One row per config key, one panel per quantity: group means, and runs as small dots.

    Numbers have a numeric axis, logarithmic if they span a factor of ten; other values are
    categories.
    """
    quantities = list(next(iter(lines.values()))[0].scores)
    with white_grid():
        figure = new_figure(6.5 * len(quantities), 0.8 + 3.6 * len(lines))
        grid = figure.subplots(len(lines), len(quantities), squeeze=False)
    for row, (key, joined) in zip(grid, lines.items(), strict=True):
        colors = COLORS if len(joined) <= NAMED_LINES else [BLUE]
        for axes, quantity in zip(row, quantities, strict=True):
            places = _value_axis(axes, [value for line in joined for value in line.values])
            for index, line in enumerate(joined):
                color = colors[index % len(colors)]
                _plot_line(axes, line, quantity, places, color)
            scores = np.concatenate([runs for line in joined for runs in line.scores[quantity]])
            if np.isnan(scores).all():
                axes.set_yticks([])
                axes.annotate("undefined", (0.5, 0.5), xycoords="axes fraction", fontsize=TEXT)
            axes.margins(x=0.1)
            axes.set_xlabel(key, fontsize=TEXT)
            axes.set_ylabel(quantity, fontsize=TEXT)
            axes.tick_params(labelsize=SMALL)
        if 1 < len(joined) <= NAMED_LINES and any(line.label for line in joined):
            row[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=SMALL)
    figure.suptitle(title, fontsize=TITLE)
    return figure


def _plot_line(
    axes: Axes, line: Line, quantity: str, places: Mapping[str, float], color: Any
) -> None:
    points = [
        (places[value_text(value)], runs)
        for value, runs in zip(line.values, line.scores[quantity], strict=True)
    ]
    points.sort(key=lambda point: point[0])
    xs, means = [x for x, _ in points], [np.mean(runs) for _, runs in points]
    label = wrap(line.label, LABEL_LETTERS)
    axes.plot(xs, means, "o-", color=color, label=label, linewidth=2, markersize=7)
    for x, runs in points:
        if len(runs) > 1:
            style = {"color": color, "markersize": 3.5, "alpha": 0.6, "linestyle": "none"}
            axes.plot([x] * len(runs), runs, "o", **style)


def _value_axis(axes: Axes, values: Sequence[Any]) -> dict[str, float]:
    """Scales and labels the x axis for a key's values; returns the place of each by its text."""
    by_text = {value_text(value): value for value in values}
    if not all(type(value) in (int, float) for value in values):
        names = sorted(by_text)
        axes.set_xticks(range(len(names)), [wrap(name, 16) for name in names])
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.grid(visible=False, axis="x")
        return {name: float(place) for place, name in enumerate(names)}
    if min(values) > 0 and max(values) >= 10 * min(values):
        axes.set_xscale("log")
    if len(by_text) <= TICKS:
        axes.xaxis.set_major_locator(FixedLocator(sorted(by_text.values())))
        axes.xaxis.set_minor_locator(NullLocator())
    # The default of a logarithmic axis writes powers as TeX, which is not parsed here.
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    return by_text


def _heatmap(axes: Axes, shares: np.ndarray, texts: Sequence[Sequence[str]]) -> None:
    """Cells coloured by percentage, with texts; undefined cells are gray and empty."""
    axes.set_facecolor("0.9")
    axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=100, edgecolors="white", linewidth=0.5)
    axes.set_ylim(len(shares), 0)
    axes.spines[:].set_visible(False)
    for (row, column), share in np.ndenumerate(shares):
        if np.isfinite(share):
            place, color = (column + 0.5, row + 0.5), "white" if share > 100 * DARK else "0.15"
            cell = axes.text(*place, texts[row][column], ha="center", va="center", color=color)
            cell.set(fontsize=SMALL, in_layout=False)  # only the names around need room
    axes.tick_params(length=0)
