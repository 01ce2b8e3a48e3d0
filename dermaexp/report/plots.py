"""Figures of a run: arrays in, a Matplotlib figure out, on white and readable at half its size.

Those with one panel also plot on the axes `ax` of a caller, and then return the figure of `ax`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dermaexp.core.text import percent
from dermaexp.data.mapped import Images
from dermaexp.metrics import classification
from dermaexp.metrics.intervals import wilson_interval
from dermaexp.metrics.labels import indicators, truth_text, worst_answers
from dermaexp.report.style import (
    BLUE,
    DARK,
    GRAY,
    ORANGE,
    RED,
    SMALL,
    TEXT,
    figure_of,
    label_epochs,
    label_percent,
    placed_figure,
    plain_text,
    put_title,
    show_image,
    text_width,
    white_grid,
    wrap,
)


@plain_text
def montage(
    images: Images,
    labels: np.ndarray,
    classes: Sequence[str],
    *,
    columns: int,
    title: str,
    ax: Axes | None = None,
) -> Figure:
    """Plot the first `columns` images of each class, a row a class.

    `images` (N, H, W, C) are uint8, `labels` (N,) index `classes`. Indicators (N, L) of several
    labels an image name the rows in which it may be; a last one has images without any.
    """
    shown = of_each_class(labels, len(classes), columns)
    counts = _rows(labels, len(classes)).sum(axis=0)
    if labels.ndim == 2:
        classes = [*classes, "no label"]
    height, width, channels = images.shape[1:]
    gap = max(1, height // 14)
    # One picture of all: an axes for each image would take ten times as long to render.
    tiles = np.full((len(classes), height + gap, columns, width + gap, channels), 255, np.uint8)
    for row, chosen in enumerate(shown):
        tiles[row, :height, : len(chosen), :width] = images[chosen].swapaxes(0, 1)
    picture = tiles.reshape(len(classes) * (height + gap), columns * (width + gap), channels)
    names = [f"{wrap(name, 22)}\nn = {n:,}" for name, n in zip(classes, counts, strict=True)]
    left, top = text_width(names) + 0.3, 0.65  # inches, as a row and a column take one
    size = (left + columns + 0.1, top + len(classes) + 0.1)
    figure = placed_figure(*size, left=left, right=0.1, top=top, bottom=0.1)
    axes = ax or figure.subplots()
    show_image(axes, picture)
    axes.set_yticks(np.arange(len(classes)) * (height + gap) + height / 2, names, fontsize=SMALL)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure = figure_of(axes)
    put_title(title, figure, ax)
    return figure


def of_each_class(labels: np.ndarray, classes: int, columns: int) -> list[np.ndarray]:
    """Return the places of the first `columns` images in each row of `montage`."""
    return [np.flatnonzero(row)[:columns] for row in _rows(labels, classes).T]


def _rows(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return whether an image may be in a row of `montage`, (N, rows)."""
    own = indicators(labels, classes)
    return own if labels.ndim == 1 else np.column_stack([own, ~own.any(axis=1)])


@plain_text
def learning_curves(history: Sequence[Mapping[str, float]], *, title: str) -> Figure:
    """Plot accuracy and loss of train and val, and mark the epoch with the best val macro AUROC.

    `history` holds a row an epoch, as history.csv does.
    """
    epochs = [row["epoch"] for row in history]
    # In float32, as Lightning compares them when it keeps the best checkpoint.
    scores = np.array([row["val_macro_auroc"] for row in history], dtype=np.float32)
    best = epochs[int(np.nanargmax(scores))] if np.isfinite(scores).any() else None
    figure = placed_figure(12, 5, left=0.85, right=0.15, top=0.65, bottom=0.65, gap=0.17)
    with white_grid():
        panels = figure.subplots(1, 2)
    for axes, quantity in zip(panels, ("accuracy", "loss"), strict=True):
        for split, color in (("train", BLUE), ("val", ORANGE)):
            values = [row[f"{split}_{quantity}"] for row in history]
            axes.plot(epochs, values, "o-", color=color, label=split, linewidth=2, markersize=4)
        if best is not None:
            label = "best val macro AUROC"
            axes.axvline(best, color=GRAY, linestyle=":", linewidth=1.5, label=label, zorder=0)
        label_epochs(axes, quantity)
        axes.legend(fontsize=TEXT)
    put_title(title, figure)
    return figure


@plain_text
def confusion_matrix(confusion: np.ndarray, classes: Sequence[str], *, title: str) -> Figure:
    """Plot the counts (K, K) and, beside them, the same as shares of each true class."""
    names = [wrap(name, 24) for name in classes]
    side = 0.75 * len(classes)
    gap, names_room = 0.2, text_width(names) + 0.1  # inches
    left, top, bottom = names_room + 0.4, 1.05, names_room + 0.45
    size = (left + 2 * side + gap + 0.15, top + side + bottom)
    figure = placed_figure(*size, left=left, right=0.15, top=top, bottom=bottom, gap=gap / side)
    counts, shares = figure.subplots(1, 2, sharey=True)
    samples = confusion.sum(axis=1, keepdims=True)
    normalised = np.divide(
        confusion, samples, out=np.full(confusion.shape, np.nan), where=samples > 0
    )
    for axes, form, heading in (
        (counts, "d", "number of images"),
        (shares, ".0f", "% of the true class"),
    ):
        values, most = (confusion, confusion.max()) if axes is counts else (100 * normalised, 100)
        _plot_cells(axes, values, most, form)
        axes.set_title(heading, fontsize=TEXT)
        axes.set_xlabel("predicted", fontsize=TEXT)
        axes.set_xticks(np.arange(len(names)) + 0.5, names, rotation=90)
        axes.tick_params(labelsize=SMALL, length=0)
    counts.set_yticks(np.arange(len(names)) + 0.5, names)
    counts.set_ylabel("true", fontsize=TEXT)
    put_title(title, figure)
    return figure


def _plot_cells(axes: Axes, values: np.ndarray, most: float, form: str) -> None:
    """Plot a square for each value (K, K) from 0 to `most`, with its number; none for NaN."""
    axes.pcolormesh(values, cmap="Blues", vmin=0, vmax=most, edgecolors="white", linewidth=0.5)
    axes.set_aspect("equal")
    axes.set_ylim(len(values), 0)
    axes.spines[:].set_visible(False)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            place, color = (column + 0.5, row + 0.5), "white" if value > DARK * most else "0.15"
            number = axes.text(*place, f"{value:{form}}", ha="center", va="center", color=color)
            number.set(fontsize=TEXT, in_layout=False)  # only the names around need room


@plain_text
def per_class_accuracy(
    confusion: np.ndarray, classes: Sequence[str], *, title: str, ax: Axes | None = None
) -> Figure:
    """Plot the recall of each class with its 95 % Wilson interval, and the overall accuracy.

    `confusion` (K, K) holds counts, a row a true class.
    """
    recalls = classification.recalls(confusion)
    samples = confusion.sum(axis=1)
    hits = np.diagonal(confusion)
    bounds = np.array([wilson_interval(*pair) for pair in zip(hits, samples, strict=True)])
    overall = hits.sum() / samples.sum()
    names = [f"{wrap(name, 26)}\nn = {n:,}" for name, n in zip(classes, samples, strict=True)]
    size, left = (11, 2.1 + 0.7 * len(classes)), text_width(names) + 0.25
    new = placed_figure(*size, left=left, right=0.15, top=0.65, bottom=1.2)
    with white_grid():
        axes = ax or new.subplots()
    rows = np.arange(len(classes))
    errors = np.abs(bounds.T - recalls).clip(min=0)
    axes.barh(rows, np.nan_to_num(recalls), color=BLUE, height=0.65)
    axes.errorbar(recalls, rows, xerr=errors, fmt="none", ecolor="black", capsize=4)
    for row, (recall, high) in enumerate(zip(recalls, bounds[:, 1], strict=True)):
        if np.isfinite(recall):
            axes.text(high + 0.012, row, percent(recall), va="center", fontsize=TEXT)
        else:
            axes.text(0.012, row, "no images", va="center", fontsize=TEXT, color="0.4")
    axes.axvline(overall, color=ORANGE, linewidth=2, label=f"overall accuracy {percent(overall)}")
    axes.set_yticks(rows, names, fontsize=SMALL)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, 1.12)
    axes.set_xticks(np.linspace(0, 1, 6))
    label_percent(axes.xaxis)
    axes.set_xlabel("accuracy within the class (recall), with 95 % Wilson interval", fontsize=TEXT)
    axes.tick_params(axis="x", labelsize=SMALL)
    figure = figure_of(axes)
    if ax:
        ax.legend(loc="lower right", fontsize=TEXT)
    else:
        figure.legend(loc="lower right", fontsize=TEXT)
    put_title(title, figure, ax)
    return figure


@plain_text
def misclassified(
    images: Images,
    y_true: np.ndarray,
    y_score: np.ndarray,
    classes: Sequence[str],
    *,
    count: int,
    title: str,
    ax: Axes | None = None,
) -> Figure:
    """Plot the `count` misclassified images with the most confident predictions first.

    `images` (N, H, W, C) are uint8, `y_true` (N,) index `classes`, `y_score` (N, K) holds
    probabilities. Of several labels an image, `y_true` (N, L), the most confident wrong one counts.
    The five columns need axes about 14 inches wide.
    """
    wrong, shown = most_confident_mistakes(y_true, y_score, count)
    columns, cell_width, cell_height, top, side = 5, 2.9, 3.5, 0.8, 2.4  # the last four in inches
    rows = max(1, -(-len(shown) // columns))
    width, height = cell_width * columns, top + cell_height * rows
    # One axes in inches: one for each image would take three times as long to render.
    axes = ax or Figure(figsize=(width, height)).add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0 if ax is None else top), autoscale_on=False)
    axes.axis("off")
    scale = side / max(images.shape[1:3])
    half_height, half_width = images.shape[1] * scale / 2, images.shape[2] * scale / 2
    for place, index in enumerate(shown):
        x = (place % columns + 0.5) * cell_width
        y = top + place // columns * cell_height + 0.55 + side / 2
        extent = (x - half_width, x + half_width, y + half_height, y - half_height)
        show_image(axes, images[index], extent)
        above, below = _answer_texts(y_true[index], y_score[index], classes)
        for text, color, place_y, align in (
            (above, RED, y - half_height - 0.07, "bottom"),
            (below, "black", y + half_height + 0.07, "top"),
        ):
            axes.text(
                x, place_y, wrap(text, 33), ha="center", va=align, fontsize=SMALL, color=color
            )
    figure = figure_of(axes)
    words = "with a wrong label" if y_true.ndim == 2 else "wrong"
    heading = f"{title}: {wrong:,} of {len(y_true):,} {words}, most confident first"
    put_title(heading, figure, ax)
    return figure


def most_confident_mistakes(
    y_true: np.ndarray, y_score: np.ndarray, count: int
) -> tuple[int, np.ndarray]:
    """Return how many images are wrong, and the places of the `count` most confident ones."""
    _, confidence = worst_answers(y_true, y_score)
    wrong = np.flatnonzero(confidence >= 0)
    return len(wrong), wrong[np.argsort(-confidence[wrong], kind="stable")][:count]


def _answer_texts(truth: np.ndarray, scores: np.ndarray, classes: Sequence[str]) -> tuple[str, str]:
    """Return what is predicted of an image and what is true, with the probabilities of both."""
    if truth.ndim == 0:
        predicted, true = int(scores.argmax()), int(truth)
        return (
            f"predicted: {classes[predicted]} {percent(scores[predicted], 0)}",
            f"true: {classes[true]} {percent(scores[true], 0)}",
        )
    (worst,), _ = worst_answers(truth[None], scores[None])
    word = "missed" if truth[worst] else "predicted"
    above = f"{word}: {classes[worst]} {percent(scores[worst], 0)}"
    return above, f"true: {truth_text(truth, classes)}"
