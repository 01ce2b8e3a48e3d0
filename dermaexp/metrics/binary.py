"""What two classes add: the second is the one to find, at a probability above 0.5."""

from __future__ import annotations

from typing import Any

import numpy as np

from dermaexp.metrics.intervals import wilson_interval

SIDES = {"sensitivity": 1, "specificity": 0}  # -> the class whose recall it is


def scores(targets: np.ndarray, predicted: np.ndarray, classes: int = 2) -> dict[str, float]:
    """Sensitivity and specificity of classes (N,); NaN for a class without samples."""
    found = {}
    for side, label in SIDES.items():
        hits, samples = _counts(targets, predicted, label)
        found[side] = hits / samples if samples else float("nan")
    return found


def added(targets: np.ndarray, predicted: np.ndarray, classes: int = 2) -> dict[str, Any]:
    """The `scores` with Wilson's 95 % intervals, as a split of metrics.json holds them."""
    counts = {side: _counts(targets, predicted, label) for side, label in SIDES.items()}
    bounds = {side: wilson_interval(*own) for side, own in counts.items()}
    return {**scores(targets, predicted), "intervals": bounds}


def _counts(targets: np.ndarray, predicted: np.ndarray, label: int) -> tuple[int, int]:
    """Correct predictions and samples of a class."""
    is_class = targets == label
    return int((predicted[is_class] == label).sum()), int(is_class.sum())
