"""Intervals against a plain loop, the literature's properties and chance itself."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import random_predictions
from scipy.stats import binom, norm
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    roc_auc_score,
)

from dermaexp.metrics import classification, intervals, resampling

SETS = 300
FEWEST = binom.ppf(0.001, SETS, 0.95)  # hits of a 95 % interval, bad luck included


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 4])
def test_bootstrap_intervals_are_those_of_a_plain_loop(classes: int) -> None:
    """scikit-learn on the same resamples."""
    targets, probabilities = random_predictions(80, classes, seed=1)
    found = intervals.bootstrap_intervals(targets, probabilities, resamples=100)
    counts = np.concatenate(list(resampling.bootstrap_counts(80, 100)), axis=1).astype(int)
    slow = []
    for draw in counts.T:
        drawn, truth = np.repeat(probabilities, draw, axis=0), np.repeat(targets, draw)
        predicted = drawn.argmax(axis=1)
        scores = drawn.astype(float) / drawn.sum(axis=1, dtype=float, keepdims=True)
        slow.append(
            (
                balanced_accuracy_score(truth, predicted),
                roc_auc_score(truth, drawn[:, 1] if classes == 2 else scores, multi_class="ovr"),
                f1_score(truth, predicted, average="macro"),
            )
        )
    expected = np.percentile(slow, (2.5, 97.5), axis=0).T
    names = ("balanced_accuracy", "macro_auroc", "macro_f1")
    assert list(found) == list(names)
    for name, ends in zip(names, expected, strict=True):
        assert found[name] == pytest.approx(ends, abs=1e-6)
    assert found == intervals.bootstrap_intervals(targets, probabilities, resamples=100)


def test_the_number_lies_in_its_interval() -> None:
    targets, probabilities = random_predictions(300, 5, seed=8)
    numbers = classification.split_metrics(targets, probabilities, targets, list("abcde"))
    headlines = ("accuracy", "balanced_accuracy", "macro_auroc", "macro_f1")
    assert list(numbers["intervals"]) == list(headlines)
    for own, keys in (
        (numbers, headlines),
        *((c, c["intervals"]) for c in numbers["per_class"].values()),
    ):
        for key in keys:
            low, high = own["intervals"][key]
            assert low < own[key] < high
    hits = np.sum(probabilities.argmax(axis=1) == targets)
    assert numbers["intervals"]["accuracy"] == intervals.wilson_interval(hits, 300)


def test_a_class_that_resamples_miss_is_left_out_of_them() -> None:
    """One image of class 0, recognised: four resamples in ten hold none and score less or more."""
    targets = np.repeat([0, 1, 2], [1, 30, 30])
    probabilities = 0.1 + 0.7 * np.eye(3, dtype=np.float32)[targets]
    probabilities[1:16] = probabilities[1:16, [1, 0, 2]]
    low, high = intervals.bootstrap_intervals(targets, probabilities)["balanced_accuracy"]
    resampled = resampling.bootstrap(targets, [probabilities], intervals.RESAMPLES)[
        "balanced_accuracy"
    ][0]
    assert not np.isnan(resampled).any()
    assert (low, high) == pytest.approx(tuple(np.percentile(resampled, (2.5, 97.5))))
    assert low < 0.75 < 0.83 < high, "means over two classes and over three"


def test_what_no_resample_changes_has_no_interval() -> None:
    """All are answered with class 1: a recall of 1 in one class and 0 in the other, always."""
    probabilities = np.tile(np.array([0.2, 0.8], np.float32), (40, 1))
    targets = np.repeat([0, 1], 20)
    found = intervals.bootstrap_intervals(targets, probabilities)
    assert np.isnan(found["balanced_accuracy"]).all()
    assert np.isnan(found["macro_auroc"]).all()
    assert found["macro_f1"][0] < f1_score(targets, np.ones(40), average="macro")


def test_auroc_interval_solves_its_equation() -> None:
    """At its ends the AUROC is 1.96 of Newcombe's standard errors away."""
    for auroc, positives, negatives in ((0.83, 23, 1982), (0.5, 4, 4), (0.07, 300, 20)):
        for true in intervals.auroc_interval(auroc, positives, negatives):
            star = (positives + negatives) / 2 - 1
            variance = (
                true
                * (1 - true)
                * (1 + star * (1 - true) / (2 - true) + star * true / (1 + true))
                / (positives * negatives)
            )
            assert abs(auroc - true) == pytest.approx(1.959964 * np.sqrt(variance), rel=1e-5)
    low, high = intervals.auroc_interval(0.8, 10, 90)
    assert intervals.auroc_interval(0.2, 10, 90) == pytest.approx((1 - high, 1 - low))
    low, high = intervals.auroc_interval(1.0, 5, 50)
    assert (high, 0.7 < low < 0.9) == (1.0, True), "few images, all separated, prove little"
    assert np.isnan(intervals.auroc_interval(np.nan, 0, 50)).all()


@pytest.mark.parametrize("positives", [6, 40])
def test_auroc_interval_holds_the_true_one(positives: int) -> None:
    generator = np.random.default_rng(positives)
    true, held = norm.cdf(1.8 / np.sqrt(2)), 0
    targets = np.repeat([1, 0], [positives, 300])
    for _ in range(SETS):
        scores = generator.normal(size=(len(targets), 1)) + 1.8 * targets[:, None]
        auroc = classification.class_auroc(targets, np.hstack([-scores, scores]))[1]
        low, high = intervals.auroc_interval(auroc, positives, 300)
        held += low <= true <= high
    assert held >= FEWEST


def test_average_precision_interval_by_hand() -> None:
    """Logit 0.5 is 0; 100 images of the class: 1.96 / sqrt(100 / 4)."""
    low, high = intervals.average_precision_interval(0.5, 100)
    assert np.log(high / (1 - high)) == pytest.approx(1.959964 / 5)
    assert low == pytest.approx(1 - high)
    assert np.isnan(intervals.average_precision_interval(1.0, 100)).all()
    assert np.isnan(intervals.average_precision_interval(np.nan, 0)).all()


@pytest.mark.slow
def test_balanced_accuracy_interval_holds_the_true_one() -> None:
    generator = np.random.default_rng(3)
    recall, held = np.array([0.3, 0.6, 0.9]), 0
    for _ in range(SETS):
        targets = generator.choice(3, 400, p=(0.1, 0.2, 0.7))
        right = generator.random(400) < recall[targets]
        predicted = np.where(right, targets, (targets + 1) % 3)
        probabilities = np.eye(3, dtype=np.float32)[predicted]
        found = intervals.bootstrap_intervals(targets, probabilities, resamples=200)
        low, high = found["balanced_accuracy"]
        held += low <= recall.mean() <= high
    assert held >= FEWEST - 0.02 * SETS, "a percentile interval is a little too narrow"


def test_resamples_that_are_all_higher_are_moved_to_the_estimate() -> None:
    resampled = np.linspace(0.30, 0.40, 1001)
    assert intervals.unbiased_interval(resampled, 0.27) == pytest.approx((0.2225, 0.3175))
    assert intervals.unbiased_interval(resampled, 0.35) == pytest.approx(
        intervals.percentile_interval(resampled)
    )
    assert intervals.unbiased_interval(resampled, 0.04) == pytest.approx((0.0, 0.0875)), "a share"
    assert np.isnan(intervals.unbiased_interval(np.array([np.nan, np.nan]), np.nan)).all()
    assert np.isnan(intervals.unbiased_interval(np.full(9, 0.5), 0.5)).all()


def test_average_precision_without_skill_is_covered() -> None:
    """Scores that say nothing have the labels' mean share in the long run."""
    generator = np.random.default_rng(0)
    shares = np.array([0.02, 0.05, 0.2])
    covers = np.zeros(2)
    for _ in range(80):
        targets = (generator.random((600, 3)) < shares).astype(np.int64)
        scores = generator.random((600, 3)).astype(np.float32)
        pairs = zip(targets.T, scores.T, strict=True)
        estimate = np.mean([average_precision_score(*pair) for pair in pairs])
        resampled = resampling.bootstrap_average_precision(targets, scores, 200)
        for side, (low, high) in enumerate(
            (
                intervals.percentile_interval(resampled),
                intervals.unbiased_interval(resampled, estimate),
            )
        ):
            covers[side] += low <= shares.mean() <= high
    assert covers[0] < 70 < covers[1], "of 80"
