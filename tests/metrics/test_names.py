"""The table of metric names against what computes them and what metrics.json holds."""

from __future__ import annotations

from typing import NotRequired, get_origin, get_type_hints

import numpy as np
import pytest

from dermaexp.core.tasks import Task
from dermaexp.metrics import classification, constant, resampling, scores
from dermaexp.metrics.names import CLASS_METRICS, HEADLINES, METRICS, OF_TASK, headlines, measures
from dermaexp.runs.metrics_file import ClassNumbers, SplitNumbers

TARGETS = np.array([0, 1, 1])
PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], np.float32)


def test_headlines_have_a_baseline_and_intervals() -> None:
    numbers = classification.split_metrics(TARGETS, PROBABILITIES, TARGETS, ["a", "b"])
    baseline = constant.headline_scores(np.bincount(TARGETS), label=1)
    resampled = resampling.bootstrap(TARGETS, [PROBABILITIES], resamples=10)
    for found in (baseline, numbers["intervals"], resampled):
        assert tuple(found) == HEADLINES


def required(kind: type) -> set[str]:
    hints = get_type_hints(kind, include_extras=True)
    return {key for key, hint in hints.items() if get_origin(hint) is not NotRequired}


LABELS = np.array([[0, 1], [1, 1], [0, 0]])


@pytest.mark.parametrize("task", OF_TASK)
def test_metrics_json_holds_every_metric(task: Task) -> None:
    targets = LABELS if task == "multi-label" else TARGETS
    numbers = scores.split_metrics(targets, PROBABILITIES, targets, ["a", "b"], task)
    assert set(HEADLINES) < set(METRICS)
    assert set(measures(task)) < set(METRICS)
    assert set(measures(task)) < set(numbers)
    assert required(SplitNumbers) <= set(numbers)
    unread = set(numbers) - set(get_type_hints(SplitNumbers))
    assert unread <= {"per_class_accuracy", "majority_accuracy"}
    (one, _) = numbers["per_class"].values()
    assert set(CLASS_METRICS) < required(ClassNumbers) <= set(one)


@pytest.mark.parametrize("task", ["binary", "ordinal"])
def test_what_a_task_adds_has_a_baseline_and_intervals(task: Task) -> None:
    numbers = scores.split_metrics(TARGETS, PROBABILITIES, TARGETS, ["a", "b"], task)
    baseline = scores.constant_prediction(np.bincount(TARGETS), 1, task)
    assert tuple(baseline) == headlines(task) == tuple(numbers["intervals"])
