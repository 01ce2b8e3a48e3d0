"""A run's test images that show what train or val shows too, measured apart from the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dermaexp.metrics import classification

HALVES = {"test_clean": "clean", "test_leaked": "leaked"}


def evaluate(
    targets: np.ndarray,
    probabilities: np.ndarray,
    is_leaked: np.ndarray,
    train_targets: np.ndarray,
    classes: Sequence[str],
) -> dict[str, Any]:
    """Numbers of "test_clean" and "test_leaked" as they stand in metrics.json, None for no image.

    `is_leaked` (N,) says of each test image whether train or val has one of its group.
    """
    return {
        half: _numbers(targets[chosen], probabilities[chosen], train_targets, classes)
        if chosen.any()
        else None
        for half, chosen in zip(HALVES, (~is_leaked, is_leaked), strict=True)
    }


def _numbers(
    targets: np.ndarray,
    probabilities: np.ndarray,
    train_targets: np.ndarray,
    classes: Sequence[str],
) -> dict[str, Any]:
    shares = np.bincount(targets, minlength=len(classes)) / len(targets)
    numbers = classification.evaluate(targets, probabilities, train_targets, classes)
    class_shares = dict(zip(classes, shares.tolist(), strict=True))
    return {"samples": len(targets), "class_shares": class_shares, **numbers}
