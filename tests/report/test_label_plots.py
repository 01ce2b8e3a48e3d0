"""Figures of several labels an image: what their texts and marks say."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import texts
from sklearn.metrics import multilabel_confusion_matrix

from dermaexp.metrics import multilabel
from dermaexp.report import curve_plots, label_plots, plots

NAMES = ("mass", "nodule", "hernia")
TARGETS = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 0], [0, 0, 0], [1, 0, 1], [0, 0, 0]])
SCORES = np.array(
    [[0.9, 0.2, 0.6], [0.3, 0.1, 0.4], [0.2, 0.7, 0.1], [0.4, 0.1, 0.2], [0.8, 0, 0.9], [0, 0, 0.8]]
)


def test_scores_have_a_bar_a_label_and_their_mean() -> None:
    numbers = multilabel.split_metrics(TARGETS, SCORES, TARGETS, NAMES)
    figure = label_plots.label_scores(numbers, len(TARGETS), title="Set, test")
    found = texts(figure)
    assert {"AUROC", "average precision", "F1 at 0.5", "Set, test"} <= set(found)
    assert "mass n = 3" in found and "nodule n = 0" in found
    auroc, precision, f1 = figure.axes
    widths = [[bar.get_width() for bar in axes.patches] for axes in (auroc, precision, f1)]
    for own, metric in zip(widths, ("auroc", "average_precision", "f1"), strict=True):
        expected = [numbers["per_class"][name][metric] for name in NAMES]
        np.testing.assert_array_equal(own, expected)
    assert found.count("undefined") == 2, "AUROC and average precision of a label without images"
    (shares,) = [line for line in precision.lines if line.get_label() == "share of the images"]
    assert list(shares.get_xdata()) == [0.5, 0, 0.5]
    assert f"mean {numbers['macro_auroc']:.3f}" in found


def test_tables_have_counts_and_shares_of_what_is_true() -> None:
    tables = multilabel_confusion_matrix(TARGETS, SCORES > 0.5)
    found = texts(label_plots.label_tables(tables, NAMES, title="Set"))
    assert "2 66.7\N{NO-BREAK SPACE}%".replace("\N{NO-BREAK SPACE}", " ") in " | ".join(found)
    assert found.count("0") == 2, "a label without images has no shares"
    assert {"mass", "nodule", "hernia", "true", "predicted at 0.5", "absent", "present"} <= {*found}


def test_curves_of_labels_are_against_their_absence() -> None:
    figure = curve_plots.roc_curves(TARGETS, SCORES, NAMES, marked={}, title="Set")
    found = texts(figure)
    assert "label and AUROC" in found
    assert any(text.startswith("mass 0.") for text in found)
    assert "nodule no images" in found
    figure = curve_plots.reliability(TARGETS, {"raw": SCORES}, title="Set")
    above, below = figure.axes
    assert above.get_ylabel() == "share that is present"
    assert sum(bar.get_height() for bar in below.patches) == TARGETS.size


def test_montage_has_a_row_for_images_without_a_label() -> None:
    images = np.full((6, 2, 2, 1), 7, np.uint8)
    found = texts(plots.montage(images, TARGETS, NAMES, columns=4, title="Set"))
    assert {"mass n = 3", "nodule n = 0", "hernia n = 3", "no label n = 2"} <= set(found)


@pytest.mark.parametrize("count", [1, 4])
def test_mistakes_name_the_worst_label_and_all_true_ones(count: int) -> None:
    images = np.zeros((6, 2, 2, 1), np.uint8)
    figure = plots.misclassified(images, TARGETS, SCORES, NAMES, count=count, title="Set")
    found = texts(figure)
    assert "Set: 3 of 6 with a wrong label, most confident first" in found
    answers = [text for text in found if text.startswith(("predicted:", "missed:"))]
    percent = [text.replace("\N{NO-BREAK SPACE}", " ") for text in answers]
    assert (
        percent
        == [
            "missed: mass 20 %",
            "predicted: hernia 80 %",
            "missed: hernia 40 %",
        ][:count]
    )
    assert ("true: none" in found) == (count > 1)
