"""ROC, precision-recall and reliability figures show what was given."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import random_predictions, texts
from matplotlib.container import BarContainer
from sklearn import metrics as sklearn_metrics

from dermaexp.metrics import classification
from dermaexp.report import curve_plots

CLASSES = ("melanoma", "actinic keratoses and intraepithelial carcinoma", "nevus", "absent")


@pytest.fixture
def predictions() -> tuple[np.ndarray, np.ndarray]:
    """400 images of the first three classes."""
    targets, probabilities = random_predictions(400, 4, seed=0)
    return targets % 3, probabilities


def test_roc_curves_go_through_scikit_learn_s_points(predictions) -> None:
    targets, probabilities = predictions
    marked = {"melanoma": (0.4, 0.93)}
    figure = curve_plots.roc_curves(
        targets, probabilities, CLASSES, marked=marked, title="cnn on Data, test"
    )
    lines = figure.axes[0].lines
    words = texts(figure)
    for label, name in enumerate(CLASSES[:3]):
        is_class, scores = targets == label, probabilities[:, label]
        expected = sklearn_metrics.roc_curve(is_class, scores, drop_intermediate=False)[:2]
        drawn = [line for line in lines if line.get_label().startswith(name[:10])]
        assert drawn[0].get_xydata() == pytest.approx(np.transpose(expected))
        assert f"{name} {sklearn_metrics.roc_auc_score(is_class, scores):.3f}" in words
    (point,) = [line for line in lines if line.get_marker() == "o"]
    assert point.get_xydata()[0] == pytest.approx([0.07, 0.4])
    assert "melanoma, threshold chosen on val: sensitivity 40.0 %, specificity 93.0 %" in words
    assert any(list(line.get_xdata()) == pytest.approx([0.05] * 2) for line in lines)
    for line in ("absent no images", "95 % specificity", "cnn on Data, test"):
        assert line in words


def test_a_class_that_is_all_images_has_no_roc_curve() -> None:
    probabilities = np.tile(np.array([0.6, 0.4], np.float32), (3, 1))
    options = {"marked": {}, "title": ""}
    words = texts(curve_plots.roc_curves(np.zeros(3, int), probabilities, ("a", "b"), **options))
    assert {"a all images", "b no images"} <= set(words)


def test_the_area_under_the_steps_is_the_average_precision(predictions) -> None:
    targets, probabilities = predictions
    figure = curve_plots.precision_recall_curves(targets, probabilities, CLASSES, title="title")
    steps = [line for line in figure.axes[0].lines if line.get_drawstyle() == "steps-pre"]
    levels = [line for line in figure.axes[0].lines if line.get_linestyle() == ":"]
    words = texts(figure)
    assert len(steps) == len(levels) == 3
    for label, (line, level) in enumerate(zip(steps, levels, strict=True)):
        recall, precision = line.get_xdata(), line.get_ydata()
        area = np.diff(recall) @ precision[1:]
        one = targets == label, probabilities[:, label]
        assert area == pytest.approx(sklearn_metrics.average_precision_score(*one))
        share = np.mean(targets == label)
        assert list(level.get_ydata()) == [share, share]
        assert level.get_color() == line.get_color()
        assert f"{CLASSES[label]} {area:.3f} ({100 * share:.1f} %)" in words
    assert {"absent no images", "title"} <= set(words)


def test_thirteen_classes_look_different_and_find_room() -> None:
    targets, probabilities = random_predictions(500, 13, seed=1)
    names = [f"organ {k} with a name that is folded into lines" for k in range(13)]
    for figure in (
        curve_plots.roc_curves(targets, probabilities, names, marked={}, title=""),
        curve_plots.precision_recall_curves(targets, probabilities, names, title=""),
    ):
        (axes,) = figure.axes
        drawn = [line for line in axes.lines if line.get_label().startswith("organ")]
        looks = {(line.get_color(), line.get_linestyle()) for line in drawn}
        assert len(looks) == len(drawn) == 13
        figure.draw_without_rendering()
        legend = axes.get_legend().get_window_extent()
        assert legend.y0 >= 0
        assert legend.x1 <= figure.bbox.x1
        assert legend.x0 >= axes.get_window_extent().x1


def test_reliability_shows_accuracy_confidence_and_counts(predictions) -> None:
    targets, probabilities = predictions
    sharper = probabilities**2 / (probabilities**2).sum(axis=1, keepdims=True)
    figure = curve_plots.reliability(
        targets, {"raw": probabilities, "calibrated": sharper}, title="cnn on Data, test"
    )
    above, right, below, _ = figure.axes
    words = texts(figure)
    for axes, name, scores in ((above, "raw", probabilities), (right, "calibrated", sharper)):
        _, confidence, accuracy = classification.reliability(targets, scores)
        (bars,) = [c for c in axes.containers if isinstance(c, BarContainer)]
        assert [bar.get_height() for bar in bars] == pytest.approx(accuracy)
        (marks,) = [line for line in axes.lines if line.get_marker() == "D"]
        assert marks.get_xdata() == pytest.approx(confidence)
        error = classification.expected_calibration_error(targets, scores)
        assert f"{name}: ECE {error:.3f}" in words
    (bars,) = below.containers
    counts = classification.reliability(targets, probabilities)[0]
    assert [bar.get_height() for bar in bars] == counts.tolist()
    assert "cnn on Data, test" in words
    alone = curve_plots.reliability(targets, {"raw": probabilities}, title="")
    assert len(alone.axes) == 2
