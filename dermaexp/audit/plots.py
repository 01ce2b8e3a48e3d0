"""Figures of pairs of images, side by side: arrays in, a matplotlib Figure out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from dermaexp.report.style import RED, SMALL, TITLE, plain_text, wrap

COLUMNS, CELL_WIDTH, CELL_HEIGHT, SIDE = 4, 3.7, 2.9, 1.6  # the last three in inches
TOP, GAP = 0.9, 0.08  # inches
LETTERS = 40  # of a line below a pair


@dataclass(frozen=True)
class PairView:
    """Two images (H, W, C) uint8 with headings above and lines below, red if `odd`."""

    images: Sequence[np.ndarray]
    headings: Sequence[str]
    lines: Sequence[str]
    odd: bool


@plain_text
def pair_sheet(pairs: Sequence[PairView], *, title: str) -> Figure:
    """Plots the pairs in rows of COLUMNS, in the given order."""
    rows = -(-len(pairs) // COLUMNS)
    width, height = COLUMNS * CELL_WIDTH, TOP + rows * CELL_HEIGHT
    figure = Figure(figsize=(width, height))
    # One axes in inches: one per image would take several times as long to render.
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    axes.axis("off")
    for place, pair in enumerate(pairs):
        middle = (place % COLUMNS + 0.5) * CELL_WIDTH
        top = TOP + place // COLUMNS * CELL_HEIGHT + 0.25
        for image, heading, sign in zip(pair.images, pair.headings, (-1, 1), strict=True):
            x = middle + sign * (SIDE + GAP) / 2
            extent = (x - SIDE / 2, x + SIDE / 2, top + SIDE, top)
            shown = image[..., 0] if image.shape[-1] == 1 else image
            axes.imshow(shown, "gray", vmin=0, vmax=255, interpolation="nearest", extent=extent)
            axes.text(x, top - 0.05, heading, ha="center", va="bottom", fontsize=SMALL)
        text = "\n".join(wrap(line, LETTERS) for line in pair.lines)
        color = RED if pair.odd else "black"
        axes.text(
            middle, top + SIDE + 0.07, text, ha="center", va="top", fontsize=SMALL, color=color
        )
    figure.text(0.5, 1 - 0.35 / height, title, ha="center", va="center", fontsize=TITLE)
    return figure
