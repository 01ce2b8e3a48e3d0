"""The metrics of test images that leak from train or val, and of the clean ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dermaexp.core.tasks import Task
from dermaexp.metrics import scores
from dermaexp.metrics.labels import indicators

TEST_PARTS = {"test_clean": "clean", "test_leaked": "leaked"}


def leak_metrics(
    targets: np.ndarray,
    probabilities: np.ndarray,
    is_leaked: np.ndarray,
    train_targets: np.ndarray,
    classes: Sequence[str],
    task: Task = "multi-class",
) -> dict[str, Any]:
    """Numbers of "test_clean" and "test_leaked" as metrics.json holds them, None without images.

    `is_leaked` (N,) marks the test images that share a lesion group with train or val.
    """
    found: dict[str, Any] = {}
    for part, chosen in zip(TEST_PARTS, (~is_leaked, is_leaked), strict=True):
        own = targets[chosen]
        found[part] = None
        if len(own):
            shares = indicators(own, len(classes)).sum(axis=0) / len(own)
            found[part] = {
                "samples": len(own),
                "class_shares": dict(zip(classes, shares.tolist(), strict=True)),
                **scores.split_metrics(own, probabilities[chosen], train_targets, classes, task),
            }
    return found
