"""Classification metrics: arrays in, numbers out.

`targets` are (N,) integers in 0..K-1, `probabilities` (N, K) with rows that sum to 1. A class
without samples has no recall and no AUROC: its values are NaN, and means leave it out.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from dermaexp.metrics import curves, intervals

BINS = 15  # of the calibration error, as in the paper


def confusion_matrix(targets: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts (K, K) of predicted classes (N,): row = true class, column = predicted class."""
    cells = targets.astype(np.int64) * classes + predicted
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def recalls(confusion: np.ndarray) -> np.ndarray:
    """Share of each true class (K,) that is predicted correctly; NaN for one without samples."""
    samples = confusion.sum(axis=1)
    return _divide(np.diagonal(confusion), samples)


def precisions(confusion: np.ndarray) -> np.ndarray:
    """Share of each predicted class (K,) that is correct; NaN, not 0, for one never predicted."""
    return _divide(np.diagonal(confusion), confusion.sum(axis=0))


def f1_scores(confusion: np.ndarray) -> np.ndarray:
    """Harmonic mean of each class's precision and recall (K,).

    0 for a class that occurs but is never predicted, NaN for one that does neither.
    """
    hits = np.diagonal(confusion)
    return _divide(2 * hits, confusion.sum(axis=0) + confusion.sum(axis=1))


def accuracy(confusion: np.ndarray) -> float:
    """Share of all samples that are predicted correctly (top-1)."""
    return float(_divide(np.trace(confusion), confusion.sum()))


def balanced_accuracy(confusion: np.ndarray) -> float:
    """Mean recall of the classes that have samples."""
    return _mean(recalls(confusion))


def macro_f1(confusion: np.ndarray) -> float:
    """Mean F1 of the classes among targets or predictions, equal to scikit-learn's."""
    return _mean(f1_scores(confusion))


def class_auroc(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """One-vs-rest area under the ROC curve of each class (K,); ties count half.

    Computed from average ranks (the Mann-Whitney statistic). NaN for a class that has no samples
    or all of them.
    """
    samples, classes = probabilities.shape
    is_class = targets[:, None] == np.arange(classes)
    positives = is_class.sum(axis=0)
    if samples == 0:
        return np.full(classes, np.nan)
    rank_sums = np.where(is_class, rankdata(probabilities, axis=0), 0.0).sum(axis=0)
    wins = rank_sums - positives * (positives + 1) / 2
    return _divide(wins, positives * (samples - positives))


def macro_auroc(targets: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean one-vs-rest AUROC, equal to the AUC of `medmnist.Evaluator` where every class occurs.

    For two classes it is the AUROC of the second. The first class's is equal up to rounding, which
    creates ties where a probability is nearly 1.
    """
    aurocs = class_auroc(targets, probabilities)
    return float(aurocs[1]) if len(aurocs) == 2 else _mean(aurocs)


def cross_entropy(targets: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean negative log-likelihood in nats; a probability of 0 counts as the smallest float32."""
    if not len(targets):
        return float("nan")
    chosen = probabilities[np.arange(len(targets)), targets].astype(np.float64)
    smallest = float(np.finfo(np.float32).tiny)
    # np.maximum keeps NaN: a diverged model must not get a finite loss.
    return float(-np.log(np.maximum(chosen, smallest)).mean())


def reliability(
    targets: np.ndarray, probabilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Samples, mean confidence and accuracy of each bin (BINS,); NaN in a bin without samples.

    Confidence is the probability of the predicted class. Bin b covers ((b - 1) / B, b / B].
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    hits = probabilities.argmax(axis=1) == targets
    bin_of = np.searchsorted(np.arange(1, BINS) / BINS, confidence)
    samples, confidences, right = (
        np.bincount(bin_of, weights, BINS) for weights in (None, confidence, hits)
    )
    return samples, _divide(confidences, samples), _divide(right, samples)


def expected_calibration_error(targets: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean gap between confidence and accuracy over the bins of `reliability`, by their samples.

    Guo et al., On Calibration of Modern Neural Networks, ICML 2017. It is biased upwards on few
    samples, and more so on bootstrap resamples: that is why it has no interval.
    """
    samples, confidence, right = reliability(targets, probabilities)
    filled = samples > 0
    return float(samples[filled] @ np.abs(confidence - right)[filled] / samples.sum())


def split_metrics(
    targets: np.ndarray,
    probabilities: np.ndarray,
    train_targets: np.ndarray,
    classes: Sequence[str],
) -> dict[str, Any]:
    """The numbers of one split as metrics.json holds them; all intervals are 95 %."""
    confusion = confusion_matrix(targets, probabilities.argmax(axis=1), len(classes))
    return {
        "loss": cross_entropy(targets, probabilities),
        **headline_scores(confusion, macro_auroc(targets, probabilities)),
        "expected_calibration_error": expected_calibration_error(targets, probabilities),
        "intervals": {
            "accuracy": intervals.wilson_interval(np.trace(confusion), confusion.sum()),
            **intervals.bootstrap_intervals(targets, probabilities),
        },
        "per_class_accuracy": dict(zip(classes, recalls(confusion).tolist(), strict=True)),
        "per_class": per_class(targets, probabilities, classes),
        "confusion_matrix": confusion.tolist(),
        "majority_accuracy": majority_baseline(train_targets, targets, len(classes))["accuracy"],
    }


def headline_scores(confusion: np.ndarray, auroc: float) -> dict[str, float]:
    """The numbers that have a baseline, by the names in `HEADLINES`."""
    return {
        "accuracy": accuracy(confusion),
        "balanced_accuracy": balanced_accuracy(confusion),
        "macro_auroc": auroc,
        "macro_f1": macro_f1(confusion),
    }


def per_class(
    targets: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Maps each class to its numbers against the rest, with intervals; NaN where undefined.

    The sensitivity at 95 % specificity is read off the split's own ROC curve. It has no interval,
    as its threshold was chosen on the same samples (see `operating_points`).
    """
    confusion = confusion_matrix(targets, probabilities.argmax(axis=1), len(classes))
    hits, samples, predicted = np.diagonal(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    recall, precision, f1 = recalls(confusion), precisions(confusion), f1_scores(confusion)
    aurocs = class_auroc(targets, probabilities)
    found = {}
    for label, name in enumerate(classes):
        points = curves.thresholds(targets == label, probabilities[:, label])
        auroc, average_precision = float(aurocs[label]), curves.average_precision(points)
        found[name] = {
            "samples": int(samples[label]),
            "recall": float(recall[label]),
            "precision": float(precision[label]),
            "f1": float(f1[label]),
            "intervals": {
                "recall": intervals.wilson_interval(hits[label], samples[label]),
                "precision": intervals.wilson_interval(hits[label], predicted[label]),
                "auroc": intervals.auroc_interval(auroc, points.positives, points.negatives),
                "average_precision": intervals.average_precision_interval(
                    average_precision, points.positives
                ),
            },
            "auroc": auroc,
            "average_precision": average_precision,
            "sensitivity_at_95_specificity": curves.sensitivity_at(points, curves.SPECIFICITY),
        }
    return found


def majority_class(train_targets: np.ndarray) -> int:
    """The most frequent class; the first one if there is a tie."""
    return int(np.bincount(train_targets).argmax())


def majority_baseline(
    train_targets: np.ndarray, targets: np.ndarray, classes: int
) -> dict[str, float]:
    """The headline scores of always predicting the largest training class."""
    counts = np.bincount(targets, minlength=classes)
    return constant_prediction(counts, majority_class(train_targets))


def constant_prediction(counts: np.ndarray, label: int) -> dict[str, float]:
    """The headline scores of predicting `label` always; `counts` (K,) are samples of each class."""
    confusion = np.zeros((len(counts), len(counts)), np.int64)
    confusion[:, label] = counts
    return headline_scores(confusion, auroc=0.5)  # a constant score ranks nothing


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient, NaN where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.true_divide(numerator, np.where(denominator == 0, np.nan, denominator))


def _mean(values: np.ndarray) -> float:
    """Mean of the values that are not NaN; NaN if all are."""
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        return float(np.nanmean(values))
