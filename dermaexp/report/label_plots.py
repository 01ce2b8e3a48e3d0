"""Figures of data with several labels an image: a label is compared with its own absence.

`y_true` (N, L) are indicators, `y_score` (N, L) probabilities of the labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dermaexp.core.text import percent
from dermaexp.report.style import (
    BLUE,
    DARK,
    GRAY,
    ORANGE,
    SMALL,
    TEXT,
    new_figure,
    plain_text,
    put_title,
    white_grid,
    wrap,
)

PANELS = {"auroc": "AUROC", "average_precision": "average precision", "f1": "F1 at 0.5"}
MEANS = {"auroc": "macro_auroc", "average_precision": "macro_average_precision", "f1": "macro_f1"}
COLUMNS = 4  # of 2x2 tables
SIDE = 2.2  # of a table, in inches
SIDES = ("absent", "present")


@plain_text
def label_scores(numbers: Mapping[str, Any], images: int, *, title: str) -> Figure:
    """Plot each label's AUROC, average precision and F1 with 95 % intervals, and their means.

    `numbers` are those of a split with `images` images. A mark shows the share of the images that
    have the label, the average precision of random scores.
    """
    found = numbers["per_class"]
    rows = np.arange(len(found))
    with white_grid():
        figure = new_figure(14.5, 2.2 + 0.55 * len(found))
        panels = figure.subplots(1, len(PANELS), sharey=True)
    for axes, (metric, heading) in zip(panels, PANELS.items(), strict=True):
        values = np.array([_number(own[metric]) for own in found.values()])
        bounds = np.array(
            [[*map(_number, own["intervals"].get(metric, (None, None)))] for own in found.values()]
        )
        axes.barh(rows, values, color=BLUE, height=0.65)
        has_bounds = np.isfinite(bounds).all(axis=1)
        errors = np.abs(bounds[has_bounds].T - values[has_bounds])
        style = {"fmt": "none", "ecolor": "black", "capsize": 4}
        axes.errorbar(values[has_bounds], rows[has_bounds], xerr=errors, **style)
        for row, (value, (_, high)) in enumerate(zip(values, bounds, strict=True)):
            end = np.nanmax([value, high, 0.0])
            text = f"{value:.3f}" if np.isfinite(value) else "undefined"
            axes.text(end + 0.02, row, text, va="center", fontsize=SMALL)
        _mark(axes, metric, [own["samples"] / images for own in found.values()])
        if np.isfinite(mean := _number(numbers[MEANS[metric]])):
            axes.axvline(mean, color=ORANGE, linewidth=2, label=f"mean {mean:.3f}")
        axes.set_xlim(0, 1.22)
        axes.set_xticks(np.linspace(0, 1, 6))
        axes.grid(visible=False, axis="y")
        axes.set_title(heading, fontsize=TEXT)
        axes.tick_params(labelsize=SMALL)
        axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.06), fontsize=SMALL, ncols=2)
    names = [f"{wrap(name, 26)}  n = {own['samples']:,}" for name, own in found.items()]
    panels[0].set_yticks(rows, names, fontsize=SMALL)
    panels[0].invert_yaxis()
    put_title(title, figure)
    return figure


@plain_text
def label_tables(confusions: np.ndarray, classes: Sequence[str], *, title: str) -> Figure:
    """Plot a 2x2 table (L, 2, 2) for each label: counts, with their share of the true row."""
    columns = min(COLUMNS, len(classes))
    rows = -(-len(classes) // columns)
    left, top, gap_x, gap_y = 0.9, 1.1, 0.5, 0.75  # inches
    width = max(6.5, left + columns * (SIDE + gap_x))
    height = top + rows * (SIDE + gap_y) + 0.2
    # Placed in inches: a layout that finds its own places takes ten times as long.
    figure = Figure(figsize=(width, height))
    for place, (name, table) in enumerate(zip(classes, confusions, strict=True)):
        row, column = divmod(place, columns)
        x, y = left + column * (SIDE + gap_x), top + row * (SIDE + gap_y)
        axes = figure.add_axes(
            (x / width, 1 - (y + SIDE) / height, SIDE / width, SIDE / height), facecolor="0.9"
        )
        _plot_table(axes, table)
        axes.set_title(wrap(name, 26), fontsize=TEXT)
        axes.set_yticks((0, 1), SIDES if column == 0 else [], rotation=90, va="center")
        axes.set_xticks((0, 1), SIDES if place + columns >= len(classes) else [])
        axes.tick_params(labelsize=SMALL, length=0)
        if column == 0:
            axes.set_ylabel("true", fontsize=TEXT)
        if place + columns >= len(classes):
            axes.set_xlabel("predicted at 0.5", fontsize=TEXT)
    put_title(title, figure)
    return figure


def _plot_table(axes: Axes, table: np.ndarray) -> None:
    """Plot the counts (2, 2), coloured by their share of the true row."""
    samples = table.sum(axis=1, keepdims=True)
    shares = table / np.where(samples > 0, samples, np.nan)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.axhline(0.5, color="white", linewidth=2)
    axes.spines[:].set_visible(False)
    for (row, column), share in np.ndenumerate(shares):
        text = f"{table[row, column]:,}" + (f"\n{percent(share)}" if share == share else "")
        color = "white" if share > DARK else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=SMALL, color=color)


def _mark(axes: Axes, metric: str, shares: Sequence[float]) -> None:
    if metric == "average_precision":
        rows = range(len(shares))
        axes.plot(shares, rows, "|", color="black", markersize=16, label="share of the images")
    elif metric == "auroc":
        axes.axvline(0.5, color=GRAY, linestyle=":", linewidth=1.5, label="random scores")


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
