"""Classification metrics: arrays in, numbers out.

`probabilities` are (N, K) with rows that sum to 1, `targets` (N,) integers in 0..K-1. A class
without a sample has no recall and no AUROC: it counts as NaN and is left out of means.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest, rankdata


def confusion_matrix(predicted: np.ndarray, targets: np.ndarray, classes: int) -> np.ndarray:
    """Counts (K, K): row = true class, column = predicted class."""
    cells = targets.astype(np.int64) * classes + predicted
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def recalls(confusion: np.ndarray) -> np.ndarray:
    """Share of each true class (K,) that was recognised; NaN for a class without samples."""
    samples = confusion.sum(axis=1)
    return _divide(np.diagonal(confusion), samples)


def accuracy(confusion: np.ndarray) -> float:
    """Share of all samples that was recognised (top-1)."""
    return float(_divide(np.trace(confusion), confusion.sum()))


def balanced_accuracy(confusion: np.ndarray) -> float:
    """Mean recall of the classes that have samples."""
    return _mean(recalls(confusion))


def macro_f1(confusion: np.ndarray) -> float:
    """Mean F1 of the classes that occur among targets or predictions, as scikit-learn's."""
    hits = np.diagonal(confusion)
    return _mean(_divide(2 * hits, confusion.sum(axis=0) + confusion.sum(axis=1)))


def class_auroc(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
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


def macro_auroc(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Mean one-vs-rest AUROC, equal to the AUC of `medmnist.Evaluator` where every class occurs.

    Of two classes it is that of the second: the first one's is the same but for rounding, which
    makes ties where a probability is nearly 1.
    """
    aurocs = class_auroc(probabilities, targets)
    return float(aurocs[1]) if len(aurocs) == 2 else _mean(aurocs)


def cross_entropy(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Mean negative log-likelihood in nats; a probability of 0 counts as the smallest float32."""
    if not len(targets):
        return float("nan")
    chosen = probabilities[np.arange(len(targets)), targets].astype(np.float64)
    smallest = float(np.finfo(np.float32).tiny)
    # np.maximum keeps NaN: a diverged net must not get a finite loss.
    return float(-np.log(np.maximum(chosen, smallest)).mean())


def evaluate(
    probabilities: np.ndarray,
    targets: np.ndarray,
    train_targets: np.ndarray,
    classes: Sequence[str],
) -> dict[str, Any]:
    """The numbers of one split as they stand in metrics.json."""
    confusion = confusion_matrix(probabilities.argmax(axis=1), targets, len(classes))
    return {
        "loss": cross_entropy(probabilities, targets),
        "accuracy": accuracy(confusion),
        "balanced_accuracy": balanced_accuracy(confusion),
        "macro_auroc": macro_auroc(probabilities, targets),
        "macro_f1": macro_f1(confusion),
        "per_class_accuracy": dict(zip(classes, recalls(confusion).tolist(), strict=True)),
        "confusion_matrix": confusion.tolist(),
        "majority_accuracy": majority_baseline(train_targets, targets, len(classes))["accuracy"],
    }


def majority_baseline(
    train_targets: np.ndarray, targets: np.ndarray, classes: int
) -> dict[str, float]:
    """The headline numbers of always answering the largest training class."""
    majority = np.full(len(targets), np.bincount(train_targets, minlength=classes).argmax())
    confusion = confusion_matrix(majority, targets, classes)
    return {
        "accuracy": accuracy(confusion),
        "balanced_accuracy": balanced_accuracy(confusion),
        "macro_auroc": 0.5,  # a constant score ranks nothing
        "macro_f1": macro_f1(confusion),
    }


def wilson_interval(hits: int, samples: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a proportion (Wilson, JASA 22:209, 1927)."""
    if not samples:
        return float("nan"), float("nan")
    interval = binomtest(int(hits), int(samples)).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient with NaN, without a warning, where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.true_divide(numerator, np.where(denominator == 0, np.nan, denominator))


def _mean(values: np.ndarray) -> float:
    """Mean of the values that are numbers; NaN where none is."""
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        return float(np.nanmean(values))
