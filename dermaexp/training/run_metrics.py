"""All final numbers of a run, from its predictions and the training targets alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dermaexp.core.tasks import Task
from dermaexp.data.lesion_groups import leaked
from dermaexp.data.splits import Splits
from dermaexp.metrics import calibration, leak, scores
from dermaexp.metrics.operating_points import operating_points


def run_metrics(
    predictions: Mapping[str, tuple[np.ndarray, np.ndarray]],
    train_targets: np.ndarray,
    classes: Sequence[str],
    *,
    calibrate: bool,
    task: Task = "multi-class",
) -> dict[str, Any]:
    """The numbers of "val" and "test" and of both together, as they stand in metrics.json.

    `predictions` holds the targets (N,) or (N, L) and probabilities (N, K) of both splits.
    `calibrate` adds what temperature scaling makes of them and changes nothing else.
    """
    val, test = predictions["val"], predictions["test"]
    numbers: dict[str, Any] = {
        split: scores.split_metrics(*predictions[split], train_targets, classes, task)
        for split in ("val", "test")
    }
    numbers |= scores.baseline_record(train_targets, classes)
    numbers["operating_points"] = operating_points(val, test, classes)
    if calibrate:
        numbers["calibration"] = calibration.calibration(val, test)
    return numbers


def run_leak_metrics(
    targets: np.ndarray,
    probabilities: np.ndarray,
    splits: Splits,
    used: np.ndarray | None = None,
) -> dict[str, Any]:
    """Return the numbers of clean and leaked test images as they stand in metrics.json.

    `used` restricts them to these indices of test. Returns nothing without lesion groups, or for
    splits other than the source's own, which keep each lesion together.
    """
    if splits.grouping is None or splits.division is not None:
        return {}
    is_leaked = leaked(splits)
    if used is not None:
        is_leaked = is_leaked[used]
    return leak.leak_metrics(
        targets, probabilities, is_leaked, splits.train.labels, splits.classes, splits.task
    )
