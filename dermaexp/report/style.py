"""How figures look, and how they are saved."""

from __future__ import annotations

import functools
import io
import textwrap
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, PercentFormatter

from dermaexp.core.files import write_bytes

# seaborn's palette "colorblind" and style "whitegrid": a run waits for no import of seaborn.
COLORS = ["#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc"]
COLORS += ["#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9"]
WHITE_GRID: dict[Any, object] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "0.8",
    "axes.grid": True,
    "axes.labelcolor": "0.15",
    "grid.color": "0.8",
    "text.color": "0.15",
    "xtick.bottom": False,
    "xtick.color": "0.15",
    "ytick.color": "0.15",
    "ytick.left": False,
}
BLUE, ORANGE, RED = COLORS[0], COLORS[1], COLORS[3]
GRAY = "0.35"
DARK = 0.55  # a share, above which its cell is dark
TEXT, SMALL, TITLE = 13, 11, 16  # points

FIGURE_DPI = 100
FASTER_PNG = {"compress_level": 3}  # in half the time, a tenth larger

# In three quarters of the time, and evenly spaced: letters are not moved to whole pixels.
LETTERS: dict[Any, object] = {"text.hinting": "none"}
# Decorates functions that plot names: a "$" in a name is a dollar sign, not the start of a formula.
plain_text = matplotlib.rc_context({"text.parse_math": False, **LETTERS})


def write_figure(folder: Path, name: str, figure: Figure) -> None:
    """Write `figure` to `folder`/figures/`name`.png, on white."""
    # Not durably: `python -m dermaexp.report` can plot it again.
    write_bytes(folder / "figures" / f"{name}.png", png_bytes(figure), durably=False)


def png_bytes(figure: Figure) -> bytes:
    """Return the content of a PNG file of `figure`."""
    buffer = io.BytesIO()
    look: dict[str, Any] = {"dpi": FIGURE_DPI, "facecolor": "white", "pil_kwargs": FASTER_PNG}
    with matplotlib.rc_context(LETTERS):
        figure.savefig(buffer, format="png", **look)
    return buffer.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, sized in inches, whose parts never overlap."""
    # A canvas of its own: else each text that asks for its size gets one, as large as the figure.
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    return FigureCanvasAgg(Figure(figsize=(width, height), layout=layout)).figure


def placed_figure(
    width: float,
    height: float,
    *,
    left: float,
    right: float,
    top: float,
    bottom: float,
    gap: float = 0.0,
) -> Figure:
    """Return a figure for a row of `subplots`, with these margins around them and `gap` between.

    `gap` is a share of their width, all else is in inches. A layout that finds its own places takes
    as long again as the rest of a figure.
    """
    figure = Figure(figsize=(width, height))
    places = {"left": left / width, "right": 1 - right / width}
    places |= {"bottom": bottom / height, "top": 1 - top / height}
    figure.subplots_adjust(**places, wspace=gap)
    return figure


def text_width(texts: Iterable[str]) -> float:
    """Return the inches that the longest line of the `texts` takes, in small letters."""
    lines = [line for text in texts for line in text.splitlines()]
    letters = FontProperties(size=SMALL)
    renderer = _renderer()
    widths = (renderer.get_text_width_height_descent(line, letters, False)[0] for line in lines)
    return max(widths, default=0.0) / FIGURE_DPI


@functools.cache
def _renderer() -> RendererAgg:
    return RendererAgg(1, 1, FIGURE_DPI)


def white_grid() -> AbstractContextManager[None]:
    """Return a context in which axes are made with a grid and without ticks."""
    return matplotlib.rc_context(WHITE_GRID)


def figure_of(ax: Axes) -> Figure:
    """Return the figure that holds `ax`, also where a subfigure lies between."""
    parent = ax.figure
    while not isinstance(parent, Figure):
        parent = parent.figure
    return parent


def put_title(title: str, figure: Figure, ax: Axes | None = None) -> None:
    """Title `ax` where the caller gave one, else the whole figure."""
    if ax is not None:
        ax.set_title(title, fontsize=TITLE, parse_math=False)
    elif figure.get_layout_engine():
        figure.suptitle(title, fontsize=TITLE)
    else:  # its parts are placed in inches
        place = 1 - 0.3 / figure.get_figheight()
        figure.text(0.5, place, title, ha="center", va="center", fontsize=TITLE)


def show_image(
    axes: Axes, image: np.ndarray, extent: tuple[float, float, float, float] | None = None
) -> None:
    """Show a gray or RGB image (H, W, C) uint8 with sharp pixels, in `extent` (data units)."""
    gray = image.shape[-1] == 1
    axes.imshow(
        image[..., 0] if gray else image,
        cmap="gray",  # without effect on RGB, as are the limits
        vmin=0,
        vmax=255,
        interpolation="nearest",
        extent=extent,
    )


def label_epochs(axes: Axes, quantity: str) -> None:
    """Label the axes of a curve over epochs."""
    axes.set_xlabel("epoch", fontsize=TEXT)
    axes.set_ylabel(quantity, fontsize=TEXT)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize=SMALL)


def label_percent(axis: Axis, decimals: int | None = 0) -> None:
    """Label the ticks of an axis of shares as "20 %"; without `decimals` the range decides."""
    axis.set_major_formatter(PercentFormatter(1.0, decimals, symbol="\N{NO-BREAK SPACE}%"))


def wrap(name: str, width: int) -> str:
    """Return `name` in lines of at most `width` letters."""
    return textwrap.fill(name, width)
