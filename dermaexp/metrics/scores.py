"""The numbers of a split by its task, and the baseline's beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dermaexp.core.tasks import Task
from dermaexp.metrics import binary, classification, constant, multilabel, ordinal
from dermaexp.metrics.labels import majority

# What a task with one label an image adds: from targets, predicted classes (N,) and their number.
SCORES: dict[Task, Callable[..., dict[str, float]]] = {
    "ordinal": ordinal.scores,
    "binary": binary.scores,
}
ADDED: dict[Task, Callable[..., dict[str, Any]]] = {  # the same with their intervals
    "ordinal": ordinal.added,
    "binary": binary.added,
}


def split_metrics(
    targets: np.ndarray,
    probabilities: np.ndarray,
    train_targets: np.ndarray,
    classes: Sequence[str],
    task: Task,
) -> dict[str, Any]:
    """The numbers of one split as metrics.json holds them; all intervals are 95 %."""
    if task == "multi-label":
        return multilabel.split_metrics(targets, probabilities, train_targets, classes)
    numbers = classification.split_metrics(targets, probabilities, train_targets, classes)
    if task in ADDED:
        added = ADDED[task](targets, probabilities.argmax(axis=1), len(classes))
        bounds = numbers["intervals"] | added.pop("intervals")
        numbers = {**numbers, **added, "intervals": bounds}
    return numbers


def headline_scores(targets: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """The numbers that have a baseline, without those that only ordinal or binary classes have."""
    if targets.ndim == 2:
        return multilabel.headline_scores(targets, probabilities)
    auroc = classification.macro_auroc(targets, probabilities)
    return classification.headline_scores(targets, probabilities.argmax(axis=1), auroc)


def constant_prediction(counts: np.ndarray, label: int, task: Task) -> dict[str, float]:
    """The headline scores of predicting `label` always; `counts` (K,) are samples of each class."""
    found = constant.headline_scores(counts, label)
    if task in SCORES:
        targets = np.repeat(np.arange(len(counts)), counts)
        found |= SCORES[task](targets, np.full_like(targets, label), len(counts))
    return found


def baseline_record(train_targets: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """What the majority baseline predicts, as metrics.json names it."""
    predicted = majority(train_targets)
    if train_targets.ndim == 1:
        return {"majority_class": classes[int(predicted)]}
    named = [name for name, own in zip(classes, predicted, strict=True) if own]
    return {"majority_labels": named}
