"""Metrics against scikit-learn, medmnist and cases worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import random_predictions
from sklearn import metrics as sklearn_metrics

from dermaexp.metrics import classification, constant, intervals


def test_auroc_class_by_class_is_that_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    targets, probabilities = random_predictions(500, 7, seed=1, digits=2)
    together = classification.class_auroc(targets, probabilities)
    monkeypatch.setattr(classification, "RANKED", 1000)
    assert classification.class_auroc(targets, probabilities).tolist() == together.tolist()


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("digits", [None, 0], ids=["distinct", "tied"])
def test_equal_to_scikit_learn(classes: int, digits: int | None) -> None:
    targets, probabilities = random_predictions(500, classes, seed=classes, digits=digits)
    names = [f"class {k}" for k in range(classes)]
    numbers = classification.split_metrics(targets, probabilities, targets, names)
    predicted = probabilities.argmax(axis=1)
    one_hot = np.eye(classes)[targets]
    aurocs = [
        sklearn_metrics.roc_auc_score(one_hot[:, k], probabilities[:, k]) for k in range(classes)
    ]

    assert numbers["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(targets, predicted))
    assert numbers["balanced_accuracy"] == pytest.approx(
        sklearn_metrics.balanced_accuracy_score(targets, predicted)
    )
    assert numbers["macro_f1"] == pytest.approx(
        sklearn_metrics.f1_score(targets, predicted, average="macro")
    )
    expected = aurocs[1] if classes == 2 else np.mean(aurocs)
    assert numbers["macro_auroc"] == pytest.approx(expected, abs=1e-12)
    assert classification.class_auroc(targets, probabilities) == pytest.approx(aurocs, abs=1e-12)
    rows = probabilities.astype(float)
    rows /= rows.sum(axis=1, keepdims=True)  # to 1, but for rounding to float32
    loss = sklearn_metrics.log_loss(targets, rows, labels=range(classes))
    assert numbers["loss"] == pytest.approx(loss, rel=1e-6)
    expected = sklearn_metrics.confusion_matrix(targets, predicted, labels=range(classes))
    assert numbers["confusion_matrix"] == expected.tolist()
    recalls = sklearn_metrics.recall_score(targets, predicted, average=None)
    assert list(numbers["per_class_accuracy"].values()) == pytest.approx(recalls)


@pytest.mark.parametrize("scale", [1, 20], ids=["unsure", "saturated"])
@pytest.mark.parametrize(
    ("flag", "classes"), [("dermamnist", 7), ("breastmnist", 2), ("retinamnist", 5)]
)
def test_equal_to_medmnist_evaluator(flag: str, classes: int, scale: float, tmp_path: Path) -> None:
    """Multi-class, binary and ordinal: AUC is our macro AUROC, ACC our accuracy."""
    from medmnist import Evaluator

    targets, probabilities = random_predictions(400, classes, seed=11, scale=scale)
    np.savez(tmp_path / f"{flag}.npz", test_labels=targets[:, None])
    theirs = Evaluator(flag, "test", root=str(tmp_path)).evaluate(probabilities)
    numbers = classification.split_metrics(
        targets, probabilities, targets, [str(k) for k in range(classes)]
    )
    assert numbers["macro_auroc"] == pytest.approx(theirs.AUC, abs=1e-12)
    assert numbers["accuracy"] == pytest.approx(theirs.ACC, abs=1e-12)


def test_a_class_without_samples_is_left_out_of_means() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.1, 0.8, 0.1]], dtype=np.float32)
    targets = np.array([0, 0, 1])
    numbers = classification.split_metrics(targets, probabilities, targets, ["a", "b", "c"])
    assert np.isnan(numbers["per_class_accuracy"]["c"])
    assert numbers["balanced_accuracy"] == pytest.approx((0.5 + 1.0) / 2)
    assert numbers["macro_auroc"] == 1.0
    assert np.isnan(classification.macro_auroc(targets[:2], probabilities[:2]))  # one class alone


def test_a_diverged_model_has_no_finite_loss() -> None:
    assert np.isnan(
        classification.cross_entropy(np.zeros(4, int), np.full((4, 3), np.nan, np.float32))
    )


def test_an_impossible_target_costs_a_finite_loss() -> None:
    certain = np.array([[1.0, 0.0]], dtype=np.float32)
    assert classification.cross_entropy(np.array([1]), certain) == pytest.approx(87.3, abs=0.1)


def test_majority_baseline_of_dermamnist() -> None:
    """Class counts of the official split; 1341 nevi among 2005 test images."""
    train = np.repeat(np.arange(7), [228, 359, 769, 80, 779, 4693, 99])
    test = np.array([66, 103, 220, 23, 223, 1341, 29])
    baseline = constant.headline_scores(test, classification.majority_class(train))
    assert baseline["accuracy"] == 1341 / 2005
    assert baseline["balanced_accuracy"] == pytest.approx(1 / 7)
    assert baseline["macro_auroc"] == 0.5
    f1 = 2 * 1341 / (1341 + 2005)
    assert baseline["macro_f1"] == pytest.approx(f1 / 7)
    for counts in (test, np.array([3, 0, 4]), np.array([1]), np.arange(11)):
        for label in range(len(counts)):
            targets = np.repeat(np.arange(len(counts)), counts)
            same = classification.headline_scores(targets, np.full_like(targets, label), 0.5)
            assert constant.headline_scores(counts, label) == same


@pytest.mark.parametrize(
    ("hits", "samples", "low", "high"),
    # Newcombe, Statistics in Medicine 17:857 (1998), table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_of_the_literature(
    hits: int, samples: int, low: float, high: float
) -> None:
    assert intervals.wilson_interval(hits, samples) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_without_samples_is_undefined() -> None:
    assert np.isnan(intervals.wilson_interval(0, 0)).all()
