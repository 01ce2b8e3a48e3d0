"""Numbers of several labels an image, against scikit-learn, medmnist and resampling by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from medmnist.evaluator import getACC, getAUC
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    roc_auc_score,
)
from torch.nn import functional

from dermaexp.metrics import calibration, classification, leak, multilabel, resampling, significance
from dermaexp.metrics.labels import majority, names_of, truth_text, worst_answers
from dermaexp.metrics.names import headlines
from dermaexp.metrics.operating_points import operating_points

TASK = "multi-label, binary-class"
NAMES = ("mass", "nodule", "hernia", "edema")
generator = np.random.default_rng(0)
TARGETS = (generator.random((200, 4)) < (0.3, 0.1, 0.6, 0.05)).astype(np.int64)
SCORES = expit(generator.normal(size=(200, 4)) + 1.5 * TARGETS - 1).astype(np.float32)
TRAIN = np.array([[0, 0, 1, 0], [1, 0, 1, 0], [1, 0, 0, 0]])


@pytest.fixture(scope="module")
def numbers() -> dict:
    return multilabel.split_metrics(TARGETS, SCORES, TRAIN, NAMES)


def test_headlines_are_those_of_scikit_learn_and_medmnist(numbers: dict) -> None:
    predicted = SCORES > 0.5
    assert numbers["macro_auroc"] == pytest.approx(getAUC(TARGETS, SCORES, TASK), abs=1e-12)
    assert numbers["accuracy"] == pytest.approx(getACC(TARGETS, SCORES, TASK), abs=1e-12)
    assert numbers["subset_accuracy"] == (predicted == TARGETS).all(axis=1).mean()
    assert numbers["macro_f1"] == pytest.approx(f1_score(TARGETS, predicted, average="macro"))
    expected = average_precision_score(TARGETS, SCORES, average="macro")
    assert numbers["macro_average_precision"] == pytest.approx(expected)
    sides = [balanced_accuracy_score(*pair) for pair in zip(TARGETS.T, predicted.T, strict=True)]
    assert numbers["balanced_accuracy"] == pytest.approx(np.mean(sides))
    loss = functional.binary_cross_entropy(torch.tensor(SCORES), torch.tensor(TARGETS).float())
    assert numbers["loss"] == pytest.approx(loss.item(), rel=1e-6)


def test_each_label_is_compared_with_its_absence(numbers: dict) -> None:
    for label, (name, own) in enumerate(numbers["per_class"].items()):
        truth, scores = TARGETS[:, label], SCORES[:, label]
        table = np.array(numbers["confusion_matrices"][label])
        assert name == NAMES[label]
        assert own["samples"] == table[1].sum() == truth.sum()
        assert own["recall"] == pytest.approx(table[1, 1] / table[1].sum())
        assert own["specificity"] == pytest.approx(table[0, 0] / table[0].sum())
        assert own["precision"] == pytest.approx(table[1, 1] / table[:, 1].sum())
        assert own["f1"] == pytest.approx(f1_score(truth, scores > 0.5))
        assert own["auroc"] == pytest.approx(roc_auc_score(truth, scores))
        assert own["average_precision"] == pytest.approx(average_precision_score(truth, scores))
        for metric, (low, high) in own["intervals"].items():
            assert low < own[metric] < high or own[metric] in (low, high)


def test_the_baseline_predicts_the_labels_of_most_training_images(numbers: dict) -> None:
    """Two of three training images have a mass, two a hernia."""
    assert majority(TRAIN).tolist() == [1, 0, 1, 0]
    constant = np.tile(majority(TRAIN), (200, 1))
    baseline = numbers["baseline"]
    assert baseline["accuracy"] == (constant == TARGETS).mean()
    assert baseline["subset_accuracy"] == (constant == TARGETS).all(axis=1).mean()
    assert baseline["macro_auroc"] == baseline["balanced_accuracy"] == 0.5
    assert baseline["macro_average_precision"] == pytest.approx(TARGETS.mean())
    assert 0 <= numbers["baseline_p"] < 0.001


def test_sign_flips_of_images_not_of_labels() -> None:
    """Two images, all labels of one differ: the p of one coin, not of four."""
    first = np.ones((1, 2, 4), bool)
    second = first.copy()
    second[0, 1] = False
    assert significance.sign_flip_exact(first, second) == pytest.approx(1.0)
    many = np.ones((1, 6, 4), bool)
    assert significance.sign_flip_exact(many, ~many) == pytest.approx(2 / 2**6)


def test_resampled_numbers_are_those_of_the_resampled_images() -> None:
    resampled = resampling.bootstrap(TARGETS, [SCORES, 1 - SCORES], resamples=5, seed=3)
    (counts,) = resampling.bootstrap_counts(len(TARGETS), 5, seed=3)
    for run, scores in enumerate((SCORES, 1 - SCORES)):
        for resample, own in enumerate(counts.T.astype(int)):
            chosen = np.repeat(np.arange(len(TARGETS)), own)
            expected = multilabel.headline_scores(TARGETS[chosen], scores[chosen])
            for metric, values in resampled.items():
                assert values[run, resample] == pytest.approx(expected[metric], abs=1e-6), metric


def test_resampled_average_precision_is_that_of_scikit_learn() -> None:
    scores = SCORES.round(1)  # with ties
    targets = TARGETS.copy()
    targets[:, 3] = 0
    resampled = resampling.bootstrap_average_precision(targets, scores, resamples=5, seed=3)
    (counts,) = resampling.bootstrap_counts(len(TARGETS), 5, seed=3)
    for found, own in zip(resampled, counts.T, strict=True):
        expected = average_precision_score(
            targets[:, :3], scores[:, :3], average="macro", sample_weight=own
        )
        assert found == pytest.approx(expected, abs=1e-6)


def test_intervals_of_accuracy_resample_images(numbers: dict) -> None:
    """The labels of an image are not independent: with equal ones the interval is Wilson's."""
    same = np.tile(TARGETS[:, :1], 4)
    predictions = np.tile(SCORES[:, :1], 4)
    found = multilabel.split_metrics(same, predictions, same, NAMES)["intervals"]
    assert found["accuracy"] == pytest.approx(found["subset_accuracy"], abs=0.02)
    assert set(numbers["intervals"]) == set(headlines("multi-label"))
    for metric, (low, high) in numbers["intervals"].items():
        assert low < numbers[metric] < high, metric


def test_means_leave_out_labels_that_no_image_has() -> None:
    targets = TARGETS.copy()
    targets[:, 1] = 0
    predicted = SCORES.copy()
    predicted[:, 1] = 0.2
    found = multilabel.split_metrics(targets, predicted, TRAIN, NAMES)
    rest = [0, 2, 3]
    expected = roc_auc_score(targets[:, rest], predicted[:, rest])
    assert found["macro_auroc"] == pytest.approx(expected)
    assert found["macro_f1"] == pytest.approx(
        f1_score(targets[:, rest], predicted[:, rest] > 0.5, average="macro")
    )
    assert np.isnan(found["per_class"]["nodule"]["auroc"])


def test_operating_points_and_calibration_errors_take_labels() -> None:
    points = operating_points((TARGETS, SCORES), (TARGETS, SCORES), NAMES)["classes"]
    for label, name in enumerate(NAMES):
        predicted = SCORES[:, label] >= points[name]["threshold"]
        truth = TARGETS[:, label] == 1
        assert points[name]["test"]["sensitivity"] == predicted[truth].mean()
        assert points[name]["val"]["specificity"] == (~predicted[~truth]).mean() >= 0.95
    samples, confidence, share = classification.reliability(TARGETS, SCORES)
    bins = np.ceil(SCORES.ravel().astype(float) * 15).astype(int) - 1
    for place, own in enumerate(np.flatnonzero(samples)):
        assert confidence[place] == pytest.approx(SCORES.ravel()[bins == own].mean(), abs=1e-6)
        assert share[place] == TARGETS.ravel()[bins == own].mean()


def test_one_temperature_for_all_labels() -> None:
    sharp = expit(3 * logit(SCORES.astype(float)))
    found = calibration.fit_temperature(TARGETS, sharp)

    def loss(temperature: float) -> float:
        return log_loss(TARGETS.ravel(), expit(logit(sharp.ravel()) / temperature))

    best = minimize_scalar(loss, bounds=(0.1, 20), method="bounded")
    assert found.value == pytest.approx(best.x, rel=1e-3)
    scaled = calibration.calibrated(sharp, found.value, several=True)
    assert classification.cross_entropy(TARGETS, scaled) == pytest.approx(best.fun)


def test_leaked_images_are_measured_by_themselves() -> None:
    is_leaked = np.arange(200) < 80
    found = leak.leak_metrics(TARGETS, SCORES, is_leaked, TRAIN, NAMES, "multi-label")
    shares = found["test_leaked"]["class_shares"]
    assert list(shares.values()) == pytest.approx(TARGETS[:80].mean(axis=0))
    expected = multilabel.headline_scores(TARGETS[80:], SCORES[80:])
    assert {key: found["test_clean"][key] for key in expected} == expected


def test_mistakes_are_wrong_labels_and_missed_ones() -> None:
    targets = np.array([[1, 0], [0, 1], [1, 1], [0, 0]])
    scores = np.array([[0.1, 0.3], [0.7, 0.4], [0.9, 0.8], [0.6, 0.95]])
    labels, confidence = worst_answers(targets, scores)
    assert confidence == pytest.approx([0.9, 0.7, -1, 0.95])
    assert labels[[0, 1, 3]].tolist() == [0, 0, 1]
    labels, confidence = worst_answers(np.array([1, 0]), np.array([[0.8, 0.2], [0.6, 0.4]]))
    assert (labels.tolist(), confidence.tolist()) == ([0, 0], [0.8, -1.0])


def test_labels_in_words() -> None:
    assert names_of(np.array([True, False, True, False]), NAMES) == "mass, hernia"
    assert truth_text(np.array([0, 0, 0, 0]), NAMES) == "none"
    assert truth_text(np.int64(1), NAMES) == "nodule"


def test_subset_accuracy_of_no_image_has_an_interval_too() -> None:
    """Wilson's upper end for 0 of n is z^2 / (n + z^2); no resample of the images moves a 0."""
    targets = np.array([[1, 0], [0, 1]] * 10)
    metrics = multilabel.split_metrics(targets, 1 - targets.astype(np.float32), targets, ("a", "b"))
    low, high = metrics["intervals"]["subset_accuracy"]
    assert (metrics["subset_accuracy"], low) == (0.0, 0.0)
    assert high == pytest.approx(1.959964**2 / (20 + 1.959964**2), abs=1e-6)
