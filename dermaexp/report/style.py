"""How figures look, and how they are saved."""

from __future__ import annotations

import io
import textwrap
from pathlib import Path

import seaborn as sns
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dermaexp.core.files import write_bytes

rcParams["text.parse_math"] = False  # a "$" in a name is a dollar sign

BLUE, ORANGE, RED = (sns.color_palette("colorblind")[i] for i in (0, 1, 3))
GRAY = "0.35"
TEXT, SMALL, TITLE = 13, 11, 16  # points

FIGURE_DPI = 100
FASTER_PNG = {"compress_level": 3}  # in half the time, a tenth larger


def write_figure(folder: Path, name: str, figure: Figure) -> None:
    """Write `figure` to `folder`/figures/, on white."""
    write_bytes(folder / "figures" / f"{name}.png", png_bytes(figure))


def png_bytes(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    options = {"dpi": FIGURE_DPI, "facecolor": "white", "pil_kwargs": FASTER_PNG}
    figure.savefig(buffer, format="png", **options)
    return buffer.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches that keeps its parts apart."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    return figure


def label_epochs(axes: Axes, quantity: str) -> None:
    """Label the axes of a curve over epochs."""
    axes.set_xlabel("epoch", fontsize=TEXT)
    axes.set_ylabel(quantity, fontsize=TEXT)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize=SMALL)


def wrap(name: str, width: int) -> str:
    """The name in lines of at most `width` letters."""
    return textwrap.fill(name, width)
