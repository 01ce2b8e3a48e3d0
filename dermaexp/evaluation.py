"""All final numbers of a run, from its predictions and the training targets alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dermaexp import calibration, metrics
from dermaexp.operating_points import operating_points


def evaluate(
    predictions: Mapping[str, tuple[np.ndarray, np.ndarray]],
    train_targets: np.ndarray,
    classes: Sequence[str],
    *,
    calibrate: bool,
) -> dict[str, Any]:
    """The numbers of "val" and "test" and of both together, as they stand in metrics.json.

    `predictions` holds the probabilities (N, K) and targets (N,) of both splits. `calibrate` adds
    what temperature scaling makes of them and changes nothing else.
    """
    val, test = predictions["val"], predictions["test"]
    numbers: dict[str, Any] = {
        split: metrics.evaluate(*predictions[split], train_targets, classes)
        for split in ("val", "test")
    }
    numbers["majority_class"] = classes[metrics.majority_class(train_targets)]
    numbers["operating_points"] = operating_points(val, test, classes)
    if calibrate:
        numbers["calibration"] = calibration.calibration(val, test)
    return numbers
