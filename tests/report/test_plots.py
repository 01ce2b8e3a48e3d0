"""Figures show what was given."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from helpers import CONFUSION, LESIONS, history, texts
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

from dermaexp.metrics.intervals import wilson_interval
from dermaexp.report import curve_plots, plots


def test_montage_has_a_row_a_class() -> None:
    labels = np.array([2, 0, 2, 2, 0, 2])
    images = np.arange(6, dtype=np.uint8)[:, None, None, None].repeat(4, 1).repeat(4, 2)
    figure = plots.montage(images, labels, LESIONS, columns=3, title="Data: training images")
    picture = figure.axes[0].images[0].get_array()
    assert picture.shape == (15, 15), "each image has a margin of one pixel"
    white = 255
    assert picture[::5, ::5].tolist() == [[1, 4, white], [white] * 3, [0, 2, 3]]
    assert (picture[4::5] == white).all() and (picture[:, 4::5] == white).all()
    assert (picture[3::5, 3::5] == picture[::5, ::5]).all(), "the whole image"
    words = texts(figure)
    for line in (f"{LESIONS[0]} n = 2", "melanoma n = 0", "melanocytic nevi n = 4"):
        assert line in words
    assert "Data: training images" in words


def test_learning_curves_show_every_epoch_and_the_best() -> None:
    figure = plots.learning_curves(history(8, best=6), title="cnn on Data")
    accuracy, loss = figure.axes
    lines = {line.get_label(): line for line in accuracy.lines}
    assert lines["train"].get_ydata() == pytest.approx(np.arange(1, 9) / 10)
    assert lines["val"].get_ydata() == pytest.approx(np.arange(1, 9) / 20)
    assert list(lines["best val macro AUROC"].get_xdata()) == [6, 6]
    assert {line.get_label(): line for line in loss.lines}["val"].get_ydata()[0] == 2.0
    undefined = [row | {"val_macro_auroc": np.nan} for row in history(3, best=1)]
    assert len(plots.learning_curves(undefined, title="").axes[0].lines) == 2


def test_confusion_matrix_has_counts_and_shares() -> None:
    figure = plots.confusion_matrix(CONFUSION, LESIONS, title="cnn on Data, test")
    counts, shares = figure.axes
    assert [int(text.get_text()) for text in counts.texts] == CONFUSION.flatten().tolist()
    expected = (100 * CONFUSION / CONFUSION.sum(axis=1, keepdims=True)).round().astype(int)
    assert [int(text.get_text()) for text in shares.texts] == expected.flatten().tolist()
    words = texts(figure)
    assert all(words.count(name) >= 2 for name in LESIONS), "in full on both axes"


def test_confusion_matrix_with_an_empty_class() -> None:
    confusion = np.array([[3, 1, 0], [0, 0, 0], [1, 0, 5]])
    _, shares = plots.confusion_matrix(confusion, LESIONS, title="").axes
    assert [text.get_text() for text in shares.texts] == ["75", "25", "0", "17", "0", "83"]


def test_per_class_accuracy_names_a_class_without_images_beside_its_place() -> None:
    confusion = np.array([[3, 1, 0], [1, 0, 5], [0, 0, 0]])
    figure = plots.per_class_accuracy(confusion, LESIONS, title="")
    (axes,) = figure.axes
    bottom, top = axes.get_ylim()
    assert bottom > 2 + 0.65 / 2 > top, "its place is as high as those of the others"
    assert "no images" in [text.get_text() for text in axes.texts]


def test_per_class_accuracy_has_bars_intervals_and_the_overall_line() -> None:
    figure = plots.per_class_accuracy(CONFUSION, LESIONS, title="cnn on Data, test")
    (axes,) = figure.axes
    (bars,) = [c for c in axes.containers if isinstance(c, BarContainer)]
    assert [bar.get_width() for bar in bars] == pytest.approx([0.6, 0.75, 145 / 150])
    (intervals,) = [c for c in axes.containers if not isinstance(c, BarContainer)]
    drawn = [segment[:, 0].tolist() for segment in intervals[2][0].get_segments()]
    expected = [wilson_interval(h, n) for h, n in ((6, 10), (30, 40), (145, 150))]
    assert np.array(drawn) == pytest.approx(np.array(expected))
    overall = 181 / 200
    assert any(list(line.get_xdata()) == [overall, overall] for line in axes.lines)
    words = texts(figure)
    for line in ("overall accuracy 90.5 %", "60.0 %", "75.0 %", "96.7 %", "melanoma n = 40"):
        assert line in words


def test_misclassified_shows_the_most_confident_mistakes_first() -> None:
    probabilities = np.array(
        [[0.1, 0.8, 0.1], [0.2, 0.3, 0.5], [0.05, 0.9, 0.05], [0.6, 0.3, 0.1], [0.2, 0.2, 0.6]],
        dtype=np.float32,
    )
    targets = np.array([2, 2, 0, 0, 1])  # wrong: 0 (0.8), 2 (0.9), 4 (0.6)
    images = np.arange(5, dtype=np.uint8)[:, None, None, None].repeat(4, 1).repeat(4, 2)
    options = {"classes": LESIONS, "title": "cnn on Data, test"}
    figure = plots.misclassified(images, targets, probabilities, count=2, **options)
    first, second = figure.axes[0].images
    assert (first.get_array()[0, 0], second.get_array()[0, 0]) == (2, 0)
    assert first.get_extent()[0] < second.get_extent()[0]
    words = texts(figure)
    assert "predicted: melanoma 90 %" in words
    assert f"true: {LESIONS[0]} 5 %" in words
    assert "cnn on Data, test: 3 of 5 wrong, most confident first" in words
    none_wrong = plots.misclassified(
        images, probabilities.argmax(axis=1), probabilities, count=2, **options
    )
    assert not any(axes.images for axes in none_wrong.axes)


@pytest.mark.slow
def test_importing_the_package_leaves_matplotlib_as_it_was() -> None:
    code = (
        "import matplotlib; before = matplotlib.rcParams.copy()\n"
        "import pkgutil, importlib, dermaexp.report\n"
        "for module in pkgutil.iter_modules(dermaexp.report.__path__, 'dermaexp.report.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name)\n"
        "assert matplotlib.rcParams.copy() == before"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr


def test_one_panel_can_be_plotted_on_the_caller_s_axes() -> None:
    y_true = np.repeat([0, 1, 2], 4)
    y_score = np.eye(3)[np.roll(y_true, 1)] * 0.7 + 0.1
    images = np.zeros((12, 4, 4, 1), np.uint8)
    figure = Figure()
    axes = figure.subplots(1, 5)
    for number, (plot, given) in enumerate(
        {
            plots.montage: {"images": images, "labels": y_true, "columns": 2},
            plots.per_class_accuracy: {"confusion": CONFUSION},
            plots.misclassified: {
                "images": images,
                "y_true": y_true,
                "y_score": y_score,
                "count": 3,
            },
            curve_plots.roc_curves: {"y_true": y_true, "y_score": y_score, "marked": {}},
            curve_plots.precision_recall_curves: {"y_true": y_true, "y_score": y_score},
        }.items()
    ):
        title = f"figure {number} of $1 and $2"
        assert plot(**given, classes=LESIONS, title=title, ax=axes[number]) is figure
        assert axes[number].get_title().startswith(title)
        assert not axes[number].title.get_parse_math(), "a dollar sign is one"
    assert len(figure.axes) == 5
    figure.draw_without_rendering()
