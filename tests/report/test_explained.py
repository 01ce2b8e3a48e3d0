"""The sheet of explained images, by what it holds."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dermaexp.report.explained import explained


def test_each_image_stands_beside_its_overlay_below_its_caption() -> None:
    images = [np.full((4, 6, 1), shade, np.uint8) for shade in range(4)]
    overlays = [np.full((4, 6, 3), 100 + shade, np.uint8) for shade in range(4)]
    captions = ["a", "b " * 40, "c", "$d$"]
    figure = explained(images, overlays, captions, title="cnn on Data (SYNTHETIC DATA)\nlegend")
    (axes,) = figure.axes
    assert [image.get_array().flat[0] for image in axes.images] == [0, 100, 1, 101, 2, 102, 3, 103]
    assert [text.get_text().replace("\n", " ") for text in axes.texts] == [
        caption.strip() for caption in captions
    ]
    assert [text.get_text() for text in figure.texts] == ["cnn on Data (SYNTHETIC DATA)\nlegend"]
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [item.get_window_extent(renderer) for item in (*axes.images, *axes.texts)]
    boxes.append(figure.texts[0].get_window_extent(renderer))
    for place, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[place + 1 :])
        assert figure.bbox.containsx(box.x0) and figure.bbox.containsx(box.x1)
        assert figure.bbox.containsy(box.y0) and figure.bbox.containsy(box.y1)


def test_on_axes_of_the_caller() -> None:
    axes = Figure(figsize=(13, 4)).add_subplot()
    image = np.zeros((4, 4, 3), np.uint8)
    assert explained([image], [image], ["a"], title="title", ax=axes) is axes.figure
    assert (axes.get_title(), len(axes.images)) == ("title", 2)
