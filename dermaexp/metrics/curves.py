"""Numbers of one class against the rest from its curves, which are scikit-learn's.

The class is predicted if its score is at least the threshold. `is_class` (N,) marks its samples,
`scores` (N,) are their probabilities of it.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import average_precision_score, roc_curve

SPECIFICITY = 0.95  # at which a class's sensitivity is reported


class Point(NamedTuple):
    """A point of the ROC curve."""

    threshold: float
    sensitivity: float


def average_precision(is_class: np.ndarray, scores: np.ndarray) -> float:
    """scikit-learn's average precision; NaN, not 0, for a class without samples."""
    return float(average_precision_score(is_class, scores)) if is_class.any() else float("nan")


def at_specificity(
    is_class: np.ndarray, scores: np.ndarray, specificity: float = SPECIFICITY
) -> Point:
    """The lowest threshold with at least this `specificity`: it has the highest sensitivity.

    The threshold is infinity if only never predicting the class is specific enough, and NaN
    without other classes. The sensitivity is NaN if either side is empty.
    """
    if is_class.all():
        return Point(float("nan"), float("nan"))
    with warnings.catch_warnings(action="ignore", category=UndefinedMetricWarning):
        fpr, tpr, thresholds = roc_curve(is_class, scores, drop_intermediate=False)
    last = np.flatnonzero(1 - fpr >= specificity)[-1]
    return Point(float(thresholds[last]), float(tpr[last]))
