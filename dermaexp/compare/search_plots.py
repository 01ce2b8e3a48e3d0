"""Figures of a search for hyper-parameters: its numbers in, a matplotlib Figure out."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dermaexp.compare.plots import LABEL_LETTERS
from dermaexp.core.text import percent
from dermaexp.report.style import (
    BLUE,
    GRAY,
    ORANGE,
    SMALL,
    TEXT,
    TITLE,
    label_percent,
    new_figure,
    plain_text,
    white_grid,
    wrap,
)


@plain_text
def search_history(
    scores: Mapping[int, float],
    failed: Sequence[int],
    pruned: Mapping[int, float],
    *,
    title: str,
) -> Figure:
    """The score of each trial by its number, and the best so far.

    Crosses mark the `failed` trials, triangles the last values of the `pruned` ones.
    """
    with white_grid():
        figure = new_figure(12, 4.8)
        axes = figure.subplots()
    best = list(itertools.accumulate(scores.values(), max))
    axes.step(list(scores), best, where="post", color=ORANGE, linewidth=2, label="best so far")
    axes.plot(list(scores), list(scores.values()), "o", color=BLUE, markersize=7, label="one trial")
    if pruned:
        axes.plot(
            list(pruned),
            list(pruned.values()),
            "v",
            color=GRAY,
            markersize=7,
            label="pruned, at its last epoch",
        )
    if failed:
        axes.plot(
            failed,
            [0.03] * len(failed),
            "x",
            color=GRAY,
            markersize=8,
            label="failed",
            transform=axes.get_xaxis_transform(),
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial", fontsize=TEXT)
    axes.set_ylabel("val macro AUROC", fontsize=TEXT)
    axes.tick_params(labelsize=SMALL)
    figure.legend(loc="outside lower center", fontsize=TEXT, ncols=4)
    figure.suptitle(title, fontsize=TITLE)
    return figure


@plain_text
def search_importances(importances: Mapping[str, float], *, title: str) -> Figure:
    """A bar for the importance of each key, from 0 to 1, in the given order."""
    keys, shares = list(importances), list(importances.values())
    with white_grid():
        figure = new_figure(12, 1.8 + 0.55 * len(keys))
        axes = figure.subplots()
    bars = axes.barh([wrap(key, LABEL_LETTERS) for key in keys], shares, color=BLUE, height=0.6)
    axes.bar_label(bars, [percent(share) for share in shares], padding=6, fontsize=TEXT)
    axes.invert_yaxis()
    axes.set_xlim(0, max(1.1 * max(shares), 0.1))
    axes.grid(visible=False, axis="y")
    label_percent(axes.xaxis)
    axes.tick_params(labelsize=SMALL)
    axes.set_xlabel("importance for val macro AUROC", fontsize=TEXT)
    figure.suptitle(title, fontsize=TITLE)
    return figure
