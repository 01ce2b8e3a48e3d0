"""Classification metrics: arrays in, numbers out.

`probabilities` are (N, K) with rows that sum to 1, `targets` (N,) integers in 0..K-1. A class
without a sample has no recall and no AUROC: it counts as NaN and is left out of means.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from dermaexp.metrics import curves
from dermaexp.metrics.intervals import (
    auroc_interval,
    average_precision_interval,
    bootstrap_intervals,
    wilson_interval,
)

HEADLINES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_auroc": "macro AUROC",
    "macro_f1": "macro F1",
}

BINS = 15  # of the calibration error, as in the paper


def confusion_matrix(targets: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts (K, K): row = true class, column = predicted class."""
    cells = targets.astype(np.int64) * classes + predicted
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def recalls(confusion: np.ndarray) -> np.ndarray:
    """Share of each true class (K,) that was recognised; NaN for a class without samples."""
    samples = confusion.sum(axis=1)
    return _divide(np.diagonal(confusion), samples)


def precisions(confusion: np.ndarray) -> np.ndarray:
    """Share of each answer (K,) that was right; NaN, not 0, for a class that is never answered."""
    return _divide(np.diagonal(confusion), confusion.sum(axis=0))


def f1_scores(confusion: np.ndarray) -> np.ndarray:
    """Harmonic mean of each class's precision and recall (K,).

    0 for a class that occurs and is never answered, NaN for one that neither occurs nor is
    answered.
    """
    hits = np.diagonal(confusion)
    return _divide(2 * hits, confusion.sum(axis=0) + confusion.sum(axis=1))


def accuracy(confusion: np.ndarray) -> float:
    """Share of all samples that was recognised (top-1)."""
    return float(_divide(np.trace(confusion), confusion.sum()))


def balanced_accuracy(confusion: np.ndarray) -> float:
    """Mean recall of the classes that have samples."""
    return _mean(recalls(confusion))


def macro_f1(confusion: np.ndarray) -> float:
    """Mean F1 of the classes that occur among targets or predictions, as scikit-learn's."""
    return _mean(f1_scores(confusion))


def class_auroc(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """One-vs-rest area under the ROC curve of each class (K,), ties counted half.

    Computed from average ranks (the Mann-Whitney statistic). NaN for a class that has no sample or
    all of them.
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

    Of two classes it is that of the second: the first one's is the same but for rounding, which
    makes ties where a probability is nearly 1.
    """
    aurocs = class_auroc(targets, probabilities)
    return float(aurocs[1]) if len(aurocs) == 2 else _mean(aurocs)


def cross_entropy(targets: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean negative log-likelihood in nats; a probability of 0 counts as the smallest float32."""
    if not len(targets):
        return float("nan")
    chosen = probabilities[np.arange(len(targets)), targets].astype(np.float64)
    smallest = float(np.finfo(np.float32).tiny)
    # np.maximum keeps NaN: a diverged net must not get a finite loss.
    return float(-np.log(np.maximum(chosen, smallest)).mean())


def reliability(
    targets: np.ndarray, probabilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Samples, mean confidence and accuracy of each bin (BINS,); NaN in a bin without samples.

    Confidence is the probability of the answer; the bins have equal widths, ((b - 1) / B, b / B].
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

    Guo et al., On Calibration of Modern Neural Networks, ICML 2017. Of few samples it is too
    large, and larger still of a bootstrap's draws: it gets no interval.
    """
    samples, confidence, right = reliability(targets, probabilities)
    filled = samples > 0
    return float(samples[filled] @ np.abs(confidence - right)[filled] / samples.sum())


def evaluate(
    targets: np.ndarray,
    probabilities: np.ndarray,
    train_targets: np.ndarray,
    classes: Sequence[str],
) -> dict[str, Any]:
    """The numbers of one split as they stand in metrics.json; all intervals are 95 %."""
    confusion = confusion_matrix(targets, probabilities.argmax(axis=1), len(classes))
    return {
        "loss": cross_entropy(targets, probabilities),
        "accuracy": accuracy(confusion),
        "balanced_accuracy": balanced_accuracy(confusion),
        "macro_auroc": macro_auroc(targets, probabilities),
        "macro_f1": macro_f1(confusion),
        "expected_calibration_error": expected_calibration_error(targets, probabilities),
        "intervals": {
            "accuracy": wilson_interval(np.trace(confusion), confusion.sum()),
            **bootstrap_intervals(targets, probabilities),
        },
        "per_class_accuracy": dict(zip(classes, recalls(confusion).tolist(), strict=True)),
        "per_class": per_class(targets, probabilities, classes),
        "confusion_matrix": confusion.tolist(),
        "majority_accuracy": majority_baseline(train_targets, targets, len(classes))["accuracy"],
    }


def per_class(
    targets: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Class -> `class_answers` and the same of its ranking against the rest.

    The sensitivity at 95 % specificity is read off the split's own ROC curve: no interval holds
    for a threshold that was chosen on the same samples (see `operating_points`).
    """
    confusion = confusion_matrix(targets, probabilities.argmax(axis=1), len(classes))
    found = class_answers(confusion, classes)
    aurocs = class_auroc(targets, probabilities)
    for label, name in enumerate(classes):
        points = curves.thresholds(targets == label, probabilities[:, label])
        auroc, average_precision = float(aurocs[label]), curves.average_precision(points)
        found[name] |= {
            "auroc": auroc,
            "average_precision": average_precision,
            "sensitivity_at_95_specificity": curves.sensitivity_at(points, curves.SPECIFICITY),
        }
        found[name]["intervals"] |= {
            "auroc": auroc_interval(auroc, points.positives, points.negatives),
            "average_precision": average_precision_interval(average_precision, points.positives),
        }
    return found


def class_answers(confusion: np.ndarray, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Class -> samples, recall, precision and F1, NaN where undefined, with 95 % intervals."""
    hits, samples, answers = np.diagonal(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    recall, precision, f1 = recalls(confusion), precisions(confusion), f1_scores(confusion)
    return {
        name: {
            "samples": int(samples[label]),
            "recall": float(recall[label]),
            "precision": float(precision[label]),
            "f1": float(f1[label]),
            "intervals": {
                "recall": wilson_interval(hits[label], samples[label]),
                "precision": wilson_interval(hits[label], answers[label]),
            },
        }
        for label, name in enumerate(classes)
    }


def majority_class(train_targets: np.ndarray) -> int:
    """The largest class; of several, the first."""
    return int(np.bincount(train_targets).argmax())


def majority_baseline(
    train_targets: np.ndarray, targets: np.ndarray, classes: int
) -> dict[str, float]:
    """The headline numbers of always answering the largest training class."""
    counts = np.bincount(targets, minlength=classes)
    return constant_answer(counts, majority_class(train_targets))


def constant_answer(counts: np.ndarray, answer: int) -> dict[str, float]:
    """The headline numbers of one answer to all samples; `counts` (K,) are those of each class."""
    confusion = np.zeros((len(counts), len(counts)), np.int64)
    confusion[:, answer] = counts
    return {
        "accuracy": accuracy(confusion),
        "balanced_accuracy": balanced_accuracy(confusion),
        "macro_auroc": 0.5,  # a constant score ranks nothing
        "macro_f1": macro_f1(confusion),
    }


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient with NaN, without a warning, where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.true_divide(numerator, np.where(denominator == 0, np.nan, denominator))


def _mean(values: np.ndarray) -> float:
    """Mean of the values that are numbers; NaN where none is."""
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        return float(np.nanmean(values))
