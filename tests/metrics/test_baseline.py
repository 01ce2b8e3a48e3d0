"""The majority baseline of tasks, over folds and beside runs from before tasks were recorded."""

from __future__ import annotations

import numpy as np
import pytest

from dermaexp.metrics import scores
from dermaexp.metrics.baseline import baseline_of

TARGETS = np.array([[1, 0], [0, 0], [1, 1], [0, 0]])
SCORES = np.array([[0.9, 0.1], [0.2, 0.3], [0.4, 0.8], [0.3, 0.2]])


def fold_of(train: np.ndarray) -> dict:
    """What metrics.json holds of two labels an image."""
    return {
        "data": {"classes": ["mass", "nodule"], "task": "multi-label"},
        "test": scores.split_metrics(TARGETS, SCORES, train, ["mass", "nodule"], "multi-label"),
        **scores.baseline_record(train, ["mass", "nodule"]),
    }


def test_labels_of_most_training_images_have_names() -> None:
    nothing, both = fold_of(TARGETS), fold_of(np.ones((3, 2), int))
    assert baseline_of(nothing).label == "always no label"
    assert baseline_of(both).label == 'always "mass" and "nodule"'
    baseline = baseline_of(nothing, both)
    assert baseline.names == "no label or “mass” and “nodule”"
    assert baseline.scores["accuracy"] == pytest.approx((5 / 8 + 3 / 8) / 2)
    assert "the labels of most training images of each fold," in baseline.beside(0.9, 0.01, "it")


def test_folds_of_older_runs_have_fewer_scores() -> None:
    numbers = {"test": {"confusion_matrix": [[3, 1], [0, 2]]}, "majority_class": "a"}
    older = numbers | {"data": {"classes": ["a", "b"]}}
    newer = numbers | {"data": {"classes": ["a", "b"], "task": "binary"}}
    assert baseline_of(newer).scores["sensitivity"] == 0
    both = baseline_of(newer, older).scores
    assert both == baseline_of(older).scores
