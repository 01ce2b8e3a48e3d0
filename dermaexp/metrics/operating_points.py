"""Operating points: a threshold for each class that is chosen on val and then applied to test.

A threshold read off the test ROC curve, as papers do it, was chosen with the answers known; one
chosen on val was not, and what it does on test is what to expect of new images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dermaexp.metrics import curves
from dermaexp.metrics.intervals import wilson_interval

HIGHLIGHTED = "melanoma"  # the class whose operating point is told first, in data that have it


def operating_points(
    val: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    classes: Sequence[str],
) -> dict[str, Any]:
    """Of each class against the rest: threshold, and sensitivity and specificity on both splits.

    `val` and `test` are targets (N,) and probabilities (N, K). The threshold is the lowest with at
    least 95 % specificity on val; infinite where there is none, which answers the class never.
    The intervals on test are Wilson's, 95 %: the threshold knows nothing of these images. NaN where
    a split has no sample of a side.
    """
    found = {}
    for label, name in enumerate(classes):
        points = curves.thresholds(val[0] == label, val[1][:, label])
        threshold = curves.threshold_at(points, curves.SPECIFICITY)
        on_val, on_test = (_counts(*split, label, threshold) for split in (val, test))
        found[name] = {
            "threshold": threshold,
            "val": {side: _share(*counts) for side, counts in on_val.items()},
            "test": {
                **{side: _share(*counts) for side, counts in on_test.items()},
                "intervals": {side: wilson_interval(*counts) for side, counts in on_test.items()},
            },
        }
    return {"chosen_on": "val", "specificity": curves.SPECIFICITY, "classes": found}


def _counts(
    targets: np.ndarray, probabilities: np.ndarray, label: int, threshold: float
) -> dict[str, tuple[int, int]]:
    """How many samples of each side are answered rightly, and of how many; 0 of 0 if undefined."""
    if np.isnan(threshold):
        return {"sensitivity": (0, 0), "specificity": (0, 0)}
    answered, is_class = probabilities[:, label] >= threshold, targets == label
    return {
        "sensitivity": (int((answered & is_class).sum()), int(is_class.sum())),
        "specificity": (int((~answered & ~is_class).sum()), int((~is_class).sum())),
    }


def _share(hits: int, samples: int) -> float:
    return hits / samples if samples else float("nan")
