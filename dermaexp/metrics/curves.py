"""ROC and precision-recall curves: one class against the rest at every threshold.

The class is predicted if its score is at least the threshold, so that equal scores share one
point. The points are those that thresholds reach, without interpolation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SPECIFICITY = 0.95  # at which a class's sensitivity is reported


class Thresholds(NamedTuple):
    """The distinct scores (T,), highest first, with the number on each side at or above them.

    `positives` and `negatives` are the totals.
    """

    scores: np.ndarray
    true_positives: np.ndarray
    false_positives: np.ndarray
    positives: int
    negatives: int


def thresholds(is_positive: np.ndarray, scores: np.ndarray) -> Thresholds:
    """All thresholds of the scores (N,); `is_positive` (N,) marks the samples of the class."""
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], is_positive[order].cumsum()
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], len(ordered) > 0))
    positives = int(is_positive.sum())
    return Thresholds(
        ordered[last], hits[last], last + 1 - hits[last], positives, len(scores) - positives
    )


def roc_curve(points: Thresholds) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates (T + 1,) from (0, 0) to (1, 1); both sides need samples."""
    return (
        np.append(0.0, points.false_positives / points.negatives),
        np.append(0.0, points.true_positives / points.positives),
    )


def precision_recall_curve(points: Thresholds) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall (T,) at every threshold, highest first; the class needs samples."""
    predicted = points.true_positives + points.false_positives
    return points.true_positives / predicted, points.true_positives / points.positives


def average_precision(points: Thresholds) -> float:
    """Mean precision weighted by the recall that each threshold adds, equal to scikit-learn's.

    NaN for a class without samples.
    """
    if not points.positives:
        return float("nan")
    precision, recall = precision_recall_curve(points)
    return float(np.diff(recall, prepend=0.0) @ precision)


def threshold_at(points: Thresholds, specificity: float) -> float:
    """The lowest threshold with at least this `specificity`: it has the highest sensitivity.

    Infinity if only never predicting the class is specific enough; NaN without other classes.
    """
    if not points.negatives:
        return float("nan")
    enough = _specific_enough(points, specificity)
    return float(points.scores[enough - 1]) if enough else float("inf")


def sensitivity_at(points: Thresholds, specificity: float) -> float:
    """Sensitivity at `threshold_at`, read off the curve; NaN if either side is empty."""
    if not (points.positives and points.negatives):
        return float("nan")
    enough = _specific_enough(points, specificity)
    return float(points.true_positives[enough - 1] / points.positives) if enough else 0.0


def _specific_enough(points: Thresholds, specificity: float) -> int:
    """The number of thresholds, from the highest down, with at least this specificity."""
    true_negatives = points.negatives - points.false_positives
    return int((true_negatives / points.negatives >= specificity).sum())
