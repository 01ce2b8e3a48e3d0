"""Figures: arrays in, a matplotlib Figure out, on white and readable at half its size."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import seaborn as sns
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from dermaexp import metrics

rcParams["text.parse_math"] = False  # a "$" in a name is a dollar sign
BLUE, ORANGE, RED = (sns.color_palette("colorblind")[i] for i in (0, 1, 3))
GRAY = "0.35"
TEXT, SMALL, TITLE = 13, 11, 16  # points
NAMED_GROUPS = 20  # that ten colours and two line styles tell apart
LEGEND_LETTERS = 150  # that fit below a figure 17 inches wide


def montage(
    images: np.ndarray, labels: np.ndarray, classes: Sequence[str], *, columns: int, title: str
) -> Figure:
    """The first `columns` images of each class, a row a class, from images (N, H, W, C) uint8."""
    figure = _figure(3.2 + 0.95 * columns, 1.1 + len(classes))
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03)
    grid = figure.subplots(len(classes), columns, squeeze=False)
    for row, (label, name) in enumerate(zip(range(len(classes)), classes, strict=True)):
        chosen = np.flatnonzero(labels == label)
        for column, axes in enumerate(grid[row]):
            axes.axis("off")
            if column < len(chosen):
                _show(axes, images[chosen[column]])
        text = f"{_wrap(name, 22)}\nn = {len(chosen):,}"
        grid[row, 0].text(
            -0.1,
            0.5,
            text,
            transform=grid[row, 0].transAxes,
            ha="right",
            va="center",
            fontsize=SMALL,
        )
    figure.suptitle(title, fontsize=TITLE)
    return figure


def learning_curves(history: Sequence[Mapping[str, float]], *, title: str) -> Figure:
    """Accuracy and loss of train and val; a mark at the epoch with the best val macro AUROC."""
    epochs = [row["epoch"] for row in history]
    # In float32, as Lightning compares them when it keeps the best checkpoint.
    scores = np.array([row["val_macro_auroc"] for row in history], dtype=np.float32)
    best = epochs[int(np.nanargmax(scores))] if np.isfinite(scores).any() else None
    with sns.axes_style("whitegrid"):
        figure = _figure(12, 5)
        panels = figure.subplots(1, 2)
    for axes, quantity in zip(panels, ("accuracy", "loss"), strict=True):
        for split, color in (("train", BLUE), ("val", ORANGE)):
            values = [row[f"{split}_{quantity}"] for row in history]
            axes.plot(epochs, values, "o-", color=color, label=split, linewidth=2, markersize=4)
        if best is not None:
            label = "best val macro AUROC"
            axes.axvline(best, color=GRAY, linestyle=":", linewidth=1.5, label=label, zorder=0)
        _label_epochs(axes, quantity)
        axes.legend(fontsize=TEXT)
    figure.suptitle(title, fontsize=TITLE)
    return figure


def group_curves(
    histories: Mapping[str, Sequence[Sequence[Mapping[str, float]]]], *, title: str
) -> Figure:
    """Val accuracy, val loss and val macro AUROC of several groups of runs, the best group first.

    A line is the mean over the group's histories, as far as all of them go; its band reaches from
    the lowest to the highest. The legend names as many as can be told apart; the others are gray.
    """
    colors = sns.color_palette("colorblind")
    styles = [("o-", color) for color in colors] + [("s--", color) for color in colors]
    styles += [("-", "0.8")] * len(histories)
    named = list(histories)[:NAMED_GROUPS]
    columns = max(1, min(3, LEGEND_LETTERS // max(map(len, named))))
    with sns.axes_style("whitegrid"):
        figure = _figure(17, 5.2 + 0.3 * len(named) / columns)
        panels = figure.subplots(1, 3)
    quantities = {
        "val_accuracy": "val accuracy",
        "val_loss": "val loss",
        "val_macro_auroc": "val macro AUROC",
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
        _label_epochs(axes, quantity)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", fontsize=TEXT, ncols=columns)
    others = len(histories) - len(named)
    heading = title + (f" (the best {NAMED_GROUPS} by name)" if others else "")
    figure.suptitle(heading, fontsize=TITLE)
    return figure


def confusion_matrix(confusion: np.ndarray, classes: Sequence[str], *, title: str) -> Figure:
    """Counts (K, K) and the same as shares of each true class, side by side."""
    names = [_wrap(name, 24) for name in classes]
    side = 0.75 * len(classes)
    room = 0.1 * max(len(line) for name in names for line in name.splitlines())  # inches for names
    figure = _figure(2 * side + room + 1.4, side + room + 1.8)
    counts, shares = figure.subplots(1, 2, sharey=True)
    samples = confusion.sum(axis=1, keepdims=True)
    normalised = np.divide(
        confusion, samples, out=np.full(confusion.shape, np.nan), where=samples > 0
    )
    for axes, values, heading, form in (
        (counts, confusion, "number of images", "d"),
        (shares, 100 * normalised, "% of the true class", ".0f"),
    ):
        sns.heatmap(
            values,
            ax=axes,
            annot=True,
            fmt=form,
            cmap="Blues",
            cbar=False,
            square=True,
            linewidths=0.5,
            vmin=0,
            vmax=100 if axes is shares else None,
            annot_kws={"fontsize": TEXT},
            xticklabels=names,
            yticklabels=names,
        )
        axes.set_title(heading, fontsize=TEXT)
        axes.set_xlabel("predicted", fontsize=TEXT)
        axes.tick_params(labelsize=SMALL, length=0)
        axes.set_xticklabels(names, rotation=90)
    counts.set_yticklabels(names, rotation=0)
    counts.set_ylabel("true", fontsize=TEXT)
    figure.suptitle(title, fontsize=TITLE)
    return figure


def per_class_accuracy(confusion: np.ndarray, classes: Sequence[str], *, title: str) -> Figure:
    """Recall of each class with its 95 % Wilson interval and n; a line at the overall accuracy."""
    recalls = metrics.recalls(confusion)
    samples = confusion.sum(axis=1)
    hits = np.diagonal(confusion)
    bounds = np.array([metrics.wilson_interval(*pair) for pair in zip(hits, samples, strict=True)])
    overall = metrics.accuracy(confusion)
    with sns.axes_style("whitegrid"):
        figure = _figure(11, 1.8 + 0.75 * len(classes))
        axes = figure.subplots()
    rows = np.arange(len(classes))
    errors = np.abs(bounds.T - recalls).clip(min=0)
    axes.barh(rows, recalls, color=BLUE, height=0.65)
    axes.errorbar(recalls, rows, xerr=errors, fmt="none", ecolor="black", capsize=4)
    for row, (recall, high) in enumerate(zip(recalls, bounds[:, 1], strict=True)):
        if np.isfinite(recall):
            axes.text(high + 0.012, row, f"{recall:.1%}", va="center", fontsize=TEXT)
    axes.axvline(overall, color=ORANGE, linewidth=2, label=f"overall accuracy {overall:.1%}")
    names = [f"{_wrap(name, 26)}\nn = {n:,}" for name, n in zip(classes, samples, strict=True)]
    axes.set_yticks(rows, names, fontsize=SMALL)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, 1.12)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("accuracy within the class (recall), with 95 % Wilson interval", fontsize=TEXT)
    axes.tick_params(axis="x", labelsize=SMALL)
    figure.legend(loc="outside lower right", fontsize=TEXT)
    figure.suptitle(title, fontsize=TITLE)
    return figure


def misclassified(
    images: np.ndarray,
    probabilities: np.ndarray,
    targets: np.ndarray,
    classes: Sequence[str],
    *,
    count: int,
    title: str,
) -> Figure:
    """The `count` wrong images (N, H, W, C) that the net was surest of, the surest first."""
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != targets)
    surest = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")][:count]
    columns = 5
    rows = max(1, -(-len(surest) // columns))
    figure = _figure(2.9 * columns, 0.9 + 3.7 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, index in zip(grid.flat, surest, strict=False):
        _show(axes, images[index])
        guess, truth = predicted[index], targets[index]
        axes.set_title(
            _wrap(f"predicted: {classes[guess]} {probabilities[index, guess]:.0%}", 32),
            fontsize=SMALL,
            color=RED,
        )
        axes.text(
            0.5,
            -0.03,
            _wrap(f"true: {classes[truth]} {probabilities[index, truth]:.0%}", 32),
            transform=axes.transAxes,
            ha="center",
            va="top",
            fontsize=SMALL,
        )
    heading = f"{title}: {len(wrong):,} of {len(targets):,} wrong, the surest first"
    figure.suptitle(heading, fontsize=TITLE)
    return figure


def _figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches that keeps its parts apart."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    return figure


def _show(axes: Axes, image: np.ndarray) -> None:
    if image.shape[-1] == 1:
        axes.imshow(image[..., 0], cmap="gray", vmin=0, vmax=255)
    else:
        axes.imshow(image)


def _label_epochs(axes: Axes, quantity: str) -> None:
    axes.set_xlabel("epoch", fontsize=TEXT)
    axes.set_ylabel(quantity, fontsize=TEXT)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize=SMALL)


def _wrap(name: str, width: int) -> str:
    return textwrap.fill(name, width)
