"""The sheet of explained images: each beside its overlay."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dermaexp.report.style import SMALL, TITLE, figure_of, plain_text, put_title, show_image, wrap

COLUMNS = 3
CELL_WIDTH, SIDE = 4.2, 1.9  # inches; a cell has two images of that side
TITLE_LINE, LINE = (1.3 * points / 72 for points in (TITLE, SMALL))  # inches


@plain_text
def explained(
    images: Sequence[np.ndarray],
    overlays: Sequence[np.ndarray],
    captions: Sequence[str],
    *,
    title: str,
    ax: Axes | None = None,
) -> Figure:
    """Plot each image beside its overlay, below its caption.

    `images` (H, W, C) and `overlays` (H, W, 3) are uint8. The three columns need axes about 13
    inches wide.
    """
    columns = min(COLUMNS, max(2, len(images)))
    width = columns * CELL_WIDTH
    heading = "\n".join(wrap(line, int(width * 8)) for line in title.splitlines())
    texts = [wrap(caption, 50) for caption in captions]
    above = 0.3 + LINE * max((text.count("\n") + 1 for text in texts), default=0)
    cell_height = above + SIDE
    top = 0.0 if ax else 0.2 + TITLE_LINE * (heading.count("\n") + 1)
    height = top + cell_height * -(-len(images) // columns) + 0.15
    # One axes in inches, as one for each image would take several times as long to render.
    axes = ax or Figure(figsize=(width, height)).add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    axes.axis("off")
    for place, (image, overlay, text) in enumerate(zip(images, overlays, texts, strict=True)):
        scale = SIDE / max(image.shape[:2])
        half_height, half_width = image.shape[0] * scale / 2, image.shape[1] * scale / 2
        middle = (place % columns + 0.5) * CELL_WIDTH
        y = top + place // columns * cell_height + above + SIDE / 2
        for shown, x in ((image, middle - SIDE / 2 - 0.03), (overlay, middle + SIDE / 2 + 0.03)):
            extent = (x - half_width, x + half_width, y + half_height, y - half_height)
            show_image(axes, shown, extent)
        axes.text(middle, y - half_height - 0.07, text, ha="center", va="bottom", fontsize=SMALL)
    figure = figure_of(axes)
    if ax:
        put_title(title, figure, ax)
    else:
        middle = 1 - (0.1 + top / 2) / height
        figure.text(0.5, middle, heading, ha="center", va="center", fontsize=TITLE)
    return figure
