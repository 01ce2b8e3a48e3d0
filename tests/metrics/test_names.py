"""The table of metric names against what computes them and what metrics.json holds."""

from __future__ import annotations

from typing import get_type_hints

import numpy as np

from dermaexp.metrics import classification, significance
from dermaexp.metrics.names import CLASS_METRICS, HEADLINES, METRICS
from dermaexp.runs.metrics_file import ClassNumbers, SplitNumbers

TARGETS = np.array([0, 1, 1])
PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], np.float32)


def test_headlines_have_a_baseline_and_intervals() -> None:
    numbers = classification.split_metrics(TARGETS, PROBABILITIES, TARGETS, ["a", "b"])
    baseline = classification.constant_prediction(np.bincount(TARGETS), label=1)
    resampled = significance.bootstrap(TARGETS, [PROBABILITIES], resamples=10)
    for found in (baseline, numbers["intervals"], resampled):
        assert tuple(found) == HEADLINES


def test_metrics_json_holds_every_metric() -> None:
    numbers = classification.split_metrics(TARGETS, PROBABILITIES, TARGETS, ["a", "b"])
    assert set(HEADLINES) < set(METRICS)
    assert set(METRICS) < set(get_type_hints(SplitNumbers)) <= set(numbers)
    (one, _) = numbers["per_class"].values()
    assert set(CLASS_METRICS) < set(get_type_hints(ClassNumbers)) <= set(one)
