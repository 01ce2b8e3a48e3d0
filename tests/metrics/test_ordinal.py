"""What ordered and two classes add, against scikit-learn and resampling by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, mean_absolute_error

from dermaexp.metrics import binary, ordinal, resampling

generator = np.random.default_rng(1)
TARGETS = generator.integers(0, 5, 150)
PREDICTED = (TARGETS + generator.integers(-1, 2, 150)).clip(0, 4)


def test_kappa_and_error_are_those_of_scikit_learn() -> None:
    found = ordinal.scores(TARGETS, PREDICTED, 5)
    expected = cohen_kappa_score(TARGETS, PREDICTED, weights="quadratic")
    assert found["quadratic_weighted_kappa"] == pytest.approx(expected)
    assert found["mean_absolute_error"] == mean_absolute_error(TARGETS, PREDICTED)


def test_kappa_of_one_class_alone_is_undefined() -> None:
    found = ordinal.scores(np.ones(4, int), np.ones(4, int), 3)
    assert np.isnan(found["quadratic_weighted_kappa"])
    assert found["mean_absolute_error"] == 0
    constant = ordinal.scores(TARGETS, np.ones_like(TARGETS), 5)
    assert constant["quadratic_weighted_kappa"] == pytest.approx(0)


def test_intervals_are_percentiles_of_resampled_images() -> None:
    found = ordinal.bootstrap_intervals(TARGETS, PREDICTED, 5, resamples=60)
    (counts,) = resampling.bootstrap_counts(len(TARGETS), 60)
    resampled = []
    for own in counts.T.astype(int):
        chosen = np.repeat(np.arange(len(TARGETS)), own)
        resampled.append(list(ordinal.scores(TARGETS[chosen], PREDICTED[chosen], 5).values()))
    ends = np.percentile(resampled, (2.5, 97.5), axis=0)
    assert found["quadratic_weighted_kappa"] == pytest.approx(ends[:, 0])
    assert found["mean_absolute_error"] == pytest.approx(ends[:, 1])


def test_sensitivity_is_of_the_second_class() -> None:
    targets, predicted = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 0])
    assert binary.scores(targets, predicted) == {"sensitivity": 1 / 2, "specificity": 2 / 3}
    assert np.isnan(binary.scores(targets[:3], predicted[:3])["sensitivity"])
