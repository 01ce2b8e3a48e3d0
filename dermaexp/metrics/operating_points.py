"""Operating points: a threshold for each class, chosen on val and applied to test.

A threshold that is read off the test ROC curve, as in many papers, was chosen with the labels
known. One chosen on val was not: its scores on test are those to expect on new images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dermaexp.metrics import curves
from dermaexp.metrics.intervals import wilson_interval
from dermaexp.metrics.labels import indicators

HIGHLIGHTED = "melanoma"  # the class whose operating point is highlighted, in data that have it


def operating_points(
    val: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    classes: Sequence[str],
) -> dict[str, Any]:
    """Each class's threshold against the rest, with sensitivity and specificity on both splits.

    `val` and `test` are targets (N,) or (N, L) and probabilities (N, K). The threshold is
    the lowest with at least 95 % specificity on val, or infinite if there is none: the class is
    then never predicted. Intervals on test are Wilson's, 95 %, as the threshold is independent of
    these images. NaN if a split has no samples of a side.
    """
    found = {}
    is_class = [indicators(targets, len(classes)) for targets, _ in (val, test)]
    for label, name in enumerate(classes):
        own = [
            (truth[:, label], probabilities[:, label])
            for truth, (_, probabilities) in zip(is_class, (val, test), strict=True)
        ]
        threshold = curves.at_specificity(*own[0]).threshold
        on_val, on_test = (_counts(*split, threshold) for split in own)
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
    is_class: np.ndarray, scores: np.ndarray, threshold: float
) -> dict[str, tuple[int, int]]:
    """Correct predictions and samples of each side; 0 of 0 if the threshold is undefined."""
    if np.isnan(threshold):
        return {"sensitivity": (0, 0), "specificity": (0, 0)}
    predicted = scores >= threshold
    return {
        "sensitivity": (int((predicted & is_class).sum()), int(is_class.sum())),
        "specificity": (int((~predicted & ~is_class).sum()), int((~is_class).sum())),
    }


def _share(hits: int, samples: int) -> float:
    return hits / samples if samples else float("nan")
