"""Curves, per-class numbers and operating points against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import random_predictions
from sklearn import metrics as sklearn_metrics

from dermaexp.metrics import classification, curves
from dermaexp.metrics.intervals import wilson_interval
from dermaexp.metrics.operating_points import operating_points

NAMES = [f"class {k}" for k in range(7)]
ALL_TIES = pytest.mark.parametrize("digits", [None, 0], ids=["distinct", "tied"])


def split(seed: int, digits: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """600 images of seven classes; class 2 is in no split, class 6 is never answered."""
    targets, probabilities = random_predictions(600, 7, seed, digits)
    targets[targets == 2] = 3
    probabilities[:, 6] *= 1e-3
    return targets, probabilities


@ALL_TIES
def test_a_class_s_numbers_are_those_of_scikit_learn(digits: int | None) -> None:
    targets, probabilities = split(2, digits)
    predicted = probabilities.argmax(axis=1)
    found = classification.per_class(targets, probabilities, NAMES)
    precision, recall, f1, samples = sklearn_metrics.precision_recall_fscore_support(
        targets, predicted, labels=range(7), zero_division=np.nan
    )
    for label, name in enumerate(NAMES):
        own, is_class, scores = found[name], targets == label, probabilities[:, label]
        assert own["samples"] == samples[label]
        ours = [own["recall"], own["precision"], own["f1"]]
        expected = [recall[label], precision[label], f1[label]]
        assert ours == pytest.approx(expected, nan_ok=True)
        if label == 2:
            continue
        assert own["average_precision"] == pytest.approx(
            sklearn_metrics.average_precision_score(is_class, scores)
        )
        assert own["auroc"] == pytest.approx(sklearn_metrics.roc_auc_score(is_class, scores))
        fpr, tpr, _ = sklearn_metrics.roc_curve(is_class, scores, drop_intermediate=False)
        assert own["sensitivity_at_95_specificity"] == tpr[1 - fpr >= 0.95 - 1e-12].max()
        hits = int((is_class & (predicted == label)).sum())
        assert own["intervals"]["recall"] == wilson_interval(hits, samples[label])
    absent = found["class 2"]
    undefined = ("recall", "auroc", "average_precision", "sensitivity_at_95_specificity")
    assert np.isnan([absent[key] for key in undefined]).all()
    assert np.isnan(
        [absent["intervals"][k] for k in ("recall", "auroc", "average_precision")]
    ).all()
    never = found["class 6"]
    assert (predicted != 6).all()
    assert (never["recall"], never["f1"]) == (0, 0)
    assert np.isnan(never["precision"]), "not 0: nothing was answered that could be wrong"
    assert np.isnan(never["intervals"]["precision"]).all()
    assert never["intervals"]["recall"][1] > 0


def test_the_operating_point_by_hand() -> None:
    """Twenty others score 0.00 to 0.19, in the order of their numbers; one error is allowed."""
    others = np.arange(20) / 100
    scores = np.concatenate([others, [0.05, 0.18, 0.185, 0.5]])
    one = np.arange(24) >= 20, scores
    assert curves.at_specificity(*one) == (0.185, 0.5), "19 / 20 is 95 % exactly"
    assert curves.at_specificity(*one, 0.90) == (0.18, 0.75)
    assert curves.at_specificity(*one, 1.0) == (0.5, 0.25)


def test_equal_scores_stand_or_fall_together() -> None:
    one = np.arange(30) < 10, np.full(30, 0.3)
    assert curves.at_specificity(*one) == (np.inf, 0), "no threshold but to answer it never"
    assert curves.average_precision(*one) == pytest.approx(1 / 3)


@pytest.mark.filterwarnings("error")
def test_a_side_without_samples_has_no_curve() -> None:
    scores = np.array([0.1, 0.5, 0.5])
    assert np.isnan(curves.at_specificity(np.ones(3, bool), scores)).all()
    point = curves.at_specificity(np.zeros(3, bool), scores)
    assert point == (np.inf, pytest.approx(np.nan, nan_ok=True)), "specificity needs others only"
    assert np.isnan(curves.average_precision(np.zeros(3, bool), scores))
    assert np.isnan(curves.at_specificity(np.zeros(0, bool), np.zeros(0))).all()


def test_the_threshold_of_val_is_applied_to_test() -> None:
    val, test = split(3), split(4)
    found = operating_points(val, test, NAMES)
    assert (found["chosen_on"], found["specificity"]) == ("val", 0.95)
    for label in (0, 4, 6):
        point = found["classes"][NAMES[label]]
        fpr, tpr, thresholds = sklearn_metrics.roc_curve(
            val[0] == label, val[1][:, label], drop_intermediate=False
        )
        enough = np.flatnonzero(1 - fpr >= 0.95 - 1e-12)[-1]
        assert point["threshold"] == thresholds[enough]
        assert point["val"] == pytest.approx(
            {"sensitivity": tpr[enough], "specificity": 1 - fpr[enough]}
        )
        answered, is_class = test[1][:, label] >= thresholds[enough], test[0] == label
        hits, rejected = answered[is_class], ~answered[~is_class]
        own = point["test"]
        assert (own["sensitivity"], own["specificity"]) == (hits.mean(), rejected.mean())
        assert own["intervals"]["sensitivity"] == wilson_interval(hits.sum(), len(hits))
        assert own["intervals"]["specificity"] == wilson_interval(rejected.sum(), len(rejected))
    absent = found["classes"]["class 2"]
    assert np.isfinite(absent["threshold"]), "specificity needs the other classes only"
    assert np.isnan(absent["test"]["sensitivity"])
    assert 0.9 < absent["test"]["specificity"] < 1


def test_an_operating_point_that_val_does_not_have() -> None:
    """All of val is class 0, so that specificity is undefined; class 1 scores the same always."""
    val = np.zeros(5, int), np.tile([0.7, 0.3], (5, 1))
    test = np.array([1, 0]), np.array([[0.2, 0.8], [0.6, 0.4]])
    points = operating_points(val, test, ["a", "b"])["classes"]
    assert np.isnan([points["a"]["threshold"], *points["a"]["val"].values()]).all()
    assert np.isnan(points["a"]["test"]["sensitivity"])
    assert points["b"]["threshold"] == np.inf
    assert (points["b"]["test"]["sensitivity"], points["b"]["test"]["specificity"]) == (0, 1)
