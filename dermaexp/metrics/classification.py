"""Classification metrics: arrays in, numbers out, by scikit-learn where it has them.

`targets` are (N,) integers in 0..K-1, `probabilities` (N, K) with rows that sum to 1. A class
without samples has no recall and no AUROC: its values are NaN, and means leave it out. Functions
that need no single answer also take indicators (N, L) of several labels an image, see `labels`;
the other numbers of those are in `multilabel`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
    recall_score,
)

from dermaexp.metrics import curves, intervals
from dermaexp.metrics.labels import indicators, majority

BINS = 15  # of the calibration error, as in the paper
RANKED = 2**20  # probabilities at once: ranking them takes eight times their memory


def recalls(confusion: np.ndarray) -> np.ndarray:
    """Share of each true class (K,) that is predicted correctly; NaN for one without samples.

    From counts (K, K), a row a true class; scikit-learn's recall_score takes samples instead.
    """
    return _divide(np.diagonal(confusion), confusion.sum(axis=1))


def class_auroc(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """One-vs-rest area under the ROC curve of each class (K,); ties count half.

    Computed from average ranks (the Mann-Whitney statistic), several times faster than by
    scikit-learn. NaN for a class that has no samples or all of them.
    """
    samples, classes = probabilities.shape
    is_class = indicators(targets, classes)
    positives = is_class.sum(axis=0)
    if samples == 0:
        return np.full(classes, np.nan)
    rank_sums = np.empty(classes)
    together = max(1, RANKED // samples)
    for start in range(0, classes, together):
        some = slice(start, start + together)
        ranks = rankdata(probabilities[:, some], axis=0)
        rank_sums[some] = np.where(is_class[:, some], ranks, 0.0).sum(axis=0)
    wins = rank_sums - positives * (positives + 1) / 2
    return _divide(wins, positives * (samples - positives))


def macro_auroc(targets: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean one-vs-rest AUROC, equal to the AUC of `medmnist.Evaluator` where every class occurs.

    For two classes it is the AUROC of the second; the first class's is equal up to rounding, which
    creates ties where a probability is nearly 1. Two labels an image both count.
    """
    aurocs = class_auroc(targets, probabilities)
    return float(aurocs[1]) if len(aurocs) == 2 and targets.ndim == 1 else defined_mean(aurocs)


def cross_entropy(targets: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean negative log-likelihood in nats; a probability of 0 counts as the smallest float32.

    Of several labels an image, the mean over all of them of the binary cross-entropy.
    scikit-learn's log_loss clips at the type's epsilon, and refuses NaN.
    """
    if not len(targets):
        return float("nan")
    if targets.ndim == 2:
        chosen = np.where(targets == 1, probabilities, 1 - probabilities.astype(np.float64))
    else:
        chosen = probabilities[np.arange(len(targets)), targets].astype(np.float64)
    smallest = float(np.finfo(np.float32).tiny)
    # np.maximum keeps NaN: a diverged model must not get a finite loss.
    return float(-np.log(np.maximum(chosen, smallest)).mean())


def reliability(
    targets: np.ndarray, probabilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Samples of each bin (BINS,), and mean confidence and accuracy of the bins that have any.

    Confidence is the probability of the predicted class. Bin b covers ((b - 1) / B, b / B]. Several
    labels an image are samples of their own: their probability, and the share that has the label.
    """
    if targets.ndim == 2:
        confidence, hits = probabilities.ravel().astype(np.float64), targets.ravel() == 1
    else:
        confidence = probabilities.max(axis=1).astype(np.float64)
        hits = probabilities.argmax(axis=1) == targets
    right, confidences = calibration_curve(hits, confidence, n_bins=BINS)
    # Counted here, by its edges: calibration_curve does not return them.
    bin_of = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], confidence)
    return np.bincount(bin_of, minlength=BINS), confidences, right


def expected_calibration_error(targets: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean gap between confidence and accuracy over the bins of `reliability`, by their samples.

    Guo et al., On Calibration of Modern Neural Networks, ICML 2017. It is biased upwards on few
    samples, and more so on bootstrap resamples: that is why it has no interval.
    """
    samples, confidence, right = reliability(targets, probabilities)
    return float(samples[samples > 0] @ np.abs(confidence - right) / samples.sum())


def split_metrics(
    targets: np.ndarray,
    probabilities: np.ndarray,
    train_targets: np.ndarray,
    classes: Sequence[str],
) -> dict[str, Any]:
    """The numbers of one split as metrics.json holds them; all intervals are 95 %."""
    predicted = probabilities.argmax(axis=1)
    confusion = confusion_matrix(targets, predicted, labels=range(len(classes)))
    found = per_class(targets, probabilities, classes)
    return {
        "loss": cross_entropy(targets, probabilities),
        **headline_scores(targets, predicted, macro_auroc(targets, probabilities)),
        "expected_calibration_error": expected_calibration_error(targets, probabilities),
        "intervals": {
            "accuracy": intervals.wilson_interval(np.trace(confusion), confusion.sum()),
            **intervals.bootstrap_intervals(targets, probabilities),
        },
        "per_class_accuracy": {name: own["recall"] for name, own in found.items()},
        "per_class": found,
        "confusion_matrix": confusion.tolist(),
        "majority_accuracy": float(np.mean(targets == majority_class(train_targets))),
    }


def headline_scores(targets: np.ndarray, predicted: np.ndarray, auroc: float) -> dict[str, float]:
    """The numbers that have a baseline, by the names in `HEADLINES`, from predicted classes (N,).

    Balanced accuracy is the mean over the classes that have samples, macro F1 over those among
    targets or predictions.
    """
    # Not balanced_accuracy_score: it warns of a class that is predicted and has no samples.
    balanced = recall_score(targets, predicted, average="macro", zero_division=np.nan)
    return {
        "accuracy": float(accuracy_score(targets, predicted)),
        "balanced_accuracy": float(balanced),
        "macro_auroc": auroc,
        "macro_f1": float(f1_score(targets, predicted, average="macro")),
    }


def per_class(
    targets: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Maps each class to its numbers against the rest, with intervals; NaN where undefined.

    The sensitivity at 95 % specificity is read off the split's own ROC curve. It has no interval,
    as its threshold was chosen on the same samples (see `operating_points`).
    """
    labels, predicted = range(len(classes)), probabilities.argmax(axis=1)
    confusion = confusion_matrix(targets, predicted, labels=labels)
    hits, answers = np.diagonal(confusion), confusion.sum(axis=0)
    precision, recall, f1, samples = precision_recall_fscore_support(
        targets, predicted, labels=labels, zero_division=np.nan
    )
    aurocs = class_auroc(targets, probabilities)
    found = {}
    for label, name in enumerate(classes):
        found[name] = {
            "samples": int(samples[label]),
            "recall": float(recall[label]),
            "precision": float(precision[label]),
            "f1": float(f1[label]),
            "intervals": {
                "recall": intervals.wilson_interval(hits[label], int(samples[label])),
                "precision": intervals.wilson_interval(hits[label], answers[label]),
            },
        }
        add_curve_numbers(found[name], targets == label, probabilities[:, label], aurocs[label])
    return found


def add_curve_numbers(
    numbers: dict[str, Any], is_class: np.ndarray, scores: np.ndarray, auroc: float
) -> None:
    """Add what the curves of a class against the rest say, with intervals, to its `numbers`.

    `is_class` (N,) says which samples are of the class, `scores` (N,) are their probabilities of
    it, and `auroc` is the AUROC of both.
    """
    positives, auroc = numbers["samples"], float(auroc)
    average_precision = curves.average_precision(is_class, scores)
    numbers["intervals"] |= {
        "auroc": intervals.auroc_interval(auroc, positives, len(is_class) - positives),
        "average_precision": intervals.average_precision_interval(average_precision, positives),
    }
    numbers |= {
        "auroc": auroc,
        "average_precision": average_precision,
        "sensitivity_at_95_specificity": curves.at_specificity(is_class, scores).sensitivity,
    }


def majority_class(train_targets: np.ndarray) -> int:
    """The most frequent class; the first one if there is a tie."""
    return int(majority(train_targets))


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient, NaN where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.true_divide(numerator, np.where(denominator == 0, np.nan, denominator))


def defined_mean(values: np.ndarray) -> float:
    """Mean of the values that are not NaN; NaN if all are."""
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        return float(np.nanmean(values))
