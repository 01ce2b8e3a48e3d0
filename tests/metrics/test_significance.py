"""The statistics against statsmodels, scikit-learn, closed forms, and chance itself."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from dermaexp.metrics import classification, resampling, significance


def predictions(
    samples: int, classes: int, seed: int, digits: int | None = None, rare: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Targets, and probabilities float32 that know a little of them; `digits` makes ties."""
    generator = np.random.default_rng(seed)
    shares = np.full(classes, 1.0)
    shares[0] = 0.05 if rare else 1.0
    targets = generator.choice(classes, samples, p=shares / shares.sum())
    logits = generator.normal(size=(samples, classes)) + np.eye(classes)[targets]
    exponentials = np.exp(logits if digits is None else logits.round(digits))
    return targets, (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)


def answers(generator: np.random.Generator, shape: tuple[int, ...], share: float) -> np.ndarray:
    return generator.random(shape) < share


def test_mcnemar_by_hand() -> None:
    """Six images that only one knows, five of them the first: 2 (1 + 6) / 64."""
    first = np.array([True] * 5 + [False] + [True] * 4)
    second = np.array([False] * 5 + [True] + [True] * 4)
    assert significance.mcnemar_exact(first, second) == pytest.approx(14 / 64)
    assert significance.mcnemar_exact(first, first) == 1.0


@pytest.mark.parametrize(("samples", "share"), [(40, 0.5), (300, 0.6), (2005, 0.66)])
def test_mcnemar_is_that_of_statsmodels(samples: int, share: float) -> None:
    generator = np.random.default_rng(samples)
    first, second = answers(generator, (samples,), 0.6), answers(generator, (samples,), share)
    table = [[np.sum((first == i) & (second == j)) for j in (1, 0)] for i in (1, 0)]
    expected = mcnemar(table, exact=True).pvalue
    assert significance.mcnemar_exact(first, second) == pytest.approx(expected, abs=1e-12)
    sign_flip = significance.sign_flip_exact(first[None], second[None])
    assert sign_flip == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("runs", [(1, 2), (3, 3), (2, 3)])
def test_sign_flip_counts_every_way_to_flip(runs: tuple[int, int]) -> None:
    generator = np.random.default_rng(5)
    first, second = (
        answers(generator, (n, 9), share) for n, share in zip(runs, (0.8, 0.4), strict=True)
    )
    differences = first.mean(axis=0) - second.mean(axis=0)
    sums = [abs(differences @ signs) for signs in itertools.product((1, -1), repeat=9)]
    expected = np.mean(np.array(sums) >= abs(differences.sum()) - 1e-9)
    assert significance.sign_flip_exact(first, second) == pytest.approx(expected, abs=1e-12)


def test_more_runs_that_answer_alike_are_no_more_evidence() -> None:
    generator = np.random.default_rng(1)
    first, second = answers(generator, (1, 200), 0.7), answers(generator, (1, 200), 0.6)
    once = significance.sign_flip_exact(first, second)
    repeated = significance.sign_flip_exact(first.repeat(5, axis=0), second.repeat(4, axis=0))
    assert repeated == pytest.approx(once, abs=1e-10)
    assert significance.sign_flip_exact(first, first) == pytest.approx(1.0)


def test_every_resample_is_a_data_set_of_the_same_size() -> None:
    counts = np.concatenate(list(resampling.bootstrap_counts(30, resamples=700, seed=3)), axis=1)
    assert counts.shape == (30, 700)
    assert (counts.sum(axis=0) == 30).all()
    assert counts.mean(axis=1) == pytest.approx(np.ones(30), abs=0.2)
    assert len(np.unique(counts, axis=1).T) == 700, "no resample twice"
    again = np.concatenate(list(resampling.bootstrap_counts(30, resamples=700, seed=3)), axis=1)
    assert (counts == again).all()


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("digits", [None, 0], ids=["distinct", "tied"])
@pytest.mark.filterwarnings("error")
def test_resampled_metrics_are_those_of_the_resampled_images(
    classes: int, digits: int | None
) -> None:
    """Class 0 is so rare that many resamples hold none of it."""
    runs = [predictions(60, classes, seed, digits, rare=True)[1] for seed in (1, 2)]
    targets = predictions(60, classes, 1, digits, rare=True)[0]
    resampled = resampling.bootstrap(targets, runs, resamples=300, seed=7)
    counts = np.concatenate(list(resampling.bootstrap_counts(60, 300, seed=7)), axis=1).astype(int)
    assert (counts[targets == 0].sum(axis=0) == 0).any()
    for index, draw in itertools.product(range(2), range(0, 300, 6)):
        drawn, truth = (np.repeat(a, counts[:, draw], axis=0) for a in (runs[index], targets))
        auroc = classification.macro_auroc(truth, drawn)
        expected = classification.headline_scores(truth, drawn.argmax(axis=1), auroc)
        found = {name: values[index, draw] for name, values in resampled.items()}
        assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_a_diverged_run_has_no_auroc() -> None:
    targets, probabilities = predictions(40, 3, seed=0)
    resampled = resampling.bootstrap(
        targets, [probabilities, np.full_like(probabilities, np.nan)], 50
    )
    assert np.isfinite(resampled["macro_auroc"][0]).all()
    assert np.isnan(resampled["macro_auroc"][1]).all()
    values = np.array([0.7]), np.array([np.nan])
    undefined = significance.difference(*values, *resampled["macro_auroc"][:, None])
    assert np.isnan([undefined.estimate, undefined.low, undefined.high, undefined.p]).all()


def test_accuracy_difference_has_the_known_standard_error() -> None:
    """sqrt(b + c - (b - c)² / n) / n of the b and c images that only one of the two knows."""
    runs = [predictions(800, 4, seed)[1] for seed in (0, 1)]
    targets = predictions(800, 4, 0)[0]
    first, second = (run.argmax(axis=1) == targets for run in runs)
    b, c = np.sum(first & ~second), np.sum(second & ~first)
    expected = np.sqrt(b + c - (b - c) ** 2 / 800) / 800
    resampled = resampling.bootstrap(targets, runs)["accuracy"]
    assert np.std(resampled[0] - resampled[1]) == pytest.approx(expected, rel=0.03)
    points = first.mean(keepdims=True), second.mean(keepdims=True)
    found = significance.difference(*points, *resampled[:, None])
    assert found.estimate == pytest.approx((b - c) / 800)
    assert found.high - found.low == pytest.approx(2 * 1.96 * expected, rel=0.04)
    assert found.p == pytest.approx(2 / 10_001), "no resample reaches 0: the smallest p of 10,000"


@pytest.mark.slow
def test_auroc_interval_is_that_of_a_plain_loop() -> None:
    runs = [predictions(120, 3, seed)[1] for seed in (0, 1)]
    targets = predictions(120, 3, 0)[0]
    resampled = resampling.bootstrap(targets, runs, resamples=5000)["macro_auroc"]
    generator = np.random.default_rng(99)
    slow = []
    for _ in range(400):
        drawn = generator.integers(0, 120, 120)
        one_hot = np.eye(3)[targets[drawn]]
        aurocs = [roc_auc_score(one_hot, run[drawn], average="macro") for run in runs]
        slow.append(aurocs[0] - aurocs[1])
    found = resampled[0] - resampled[1]
    assert np.mean(found) == pytest.approx(np.mean(slow), abs=4 * np.std(slow) / 20)
    assert np.std(found) == pytest.approx(np.std(slow), rel=0.12)
    assert np.percentile(found, (2.5, 97.5)) == pytest.approx(
        np.percentile(slow, (2.5, 97.5)), abs=0.4 * np.std(slow)
    )


def test_seeds_that_differ_widen_the_interval() -> None:
    """Without image noise what is left is Student's t interval of the seeds."""
    first, second = np.array([0.70, 0.72, 0.74]), np.array([0.60])
    flat = np.repeat(first[:, None], 20_000, axis=1), np.repeat(second[:, None], 20_000, axis=1)
    found = significance.difference(first, second, *flat)
    half = 4.303 * 0.02 / np.sqrt(3)  # t of 2 degrees of freedom
    assert found.estimate == pytest.approx(0.12)
    assert (found.low, found.high) == pytest.approx((0.12 - half, 0.12 + half), abs=0.004)
    other = significance.difference(first, first - 0.12, flat[0], flat[0] - 0.12)
    half = 2.776 * np.sqrt(2) * 0.02 / np.sqrt(3)  # Welch's: 4 where the groups vary alike
    assert (other.low, other.high) == pytest.approx((0.12 - half, 0.12 + half), abs=0.004)
    alone = significance.difference(first[:1], second, flat[0][:1], flat[1])
    assert (alone.low, alone.high) == pytest.approx((0.10, 0.10))


def test_equal_groups_have_p_1() -> None:
    values, resampled = np.array([0.5, 0.5]), np.full((2, 100), 0.5)
    assert significance.difference(values, values, resampled, resampled) == significance.Difference(
        0, 0, 0, 1
    )


@pytest.mark.slow
def test_holm_is_that_of_statsmodels() -> None:
    generator = np.random.default_rng(0)
    for size in (1, 2, 5, 30):
        pvalues = generator.random(size) ** 3
        expected = multipletests(pvalues, method="holm")[1]
        assert significance.holm(pvalues) == pytest.approx(expected)
    assert significance.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert significance.holm([]).tolist() == []


def false_claims(seeds: int, seed_noise: float, sets: int) -> dict[str, int]:
    """In how many of `sets` simulations any of three equal rivals "differs", after Holm.

    Some images are easy, some hard, for all groups alike; a seed moves its run's accuracy.
    """
    generator = np.random.default_rng(seeds)
    samples, groups, resamples = 150, 4, 499
    counts = np.concatenate(list(resampling.bootstrap_counts(samples, resamples)), axis=1)
    claims = {"exact": 0, "bootstrap": 0, "both": 0}
    for _ in range(sets):
        easiness = generator.normal(0.5, 1.0, samples)
        luck = seed_noise * generator.normal(size=(groups, seeds, 1))
        correct = generator.normal(size=(groups, seeds, samples)) < easiness + luck
        points, resampled = correct.mean(axis=2), correct @ counts / samples
        bootstrap = [
            significance.difference(points[0], points[k], resampled[0], resampled[k]).p
            for k in range(1, groups)
        ]
        exact = [significance.sign_flip_exact(correct[0], correct[k]) for k in range(1, groups)]
        both = np.maximum(exact, bootstrap)
        for name, pvalues in (("exact", exact), ("bootstrap", bootstrap), ("both", both)):
            claims[name] += bool((significance.holm(pvalues) < 0.05).any())
    return claims


SETS = 400
MOST = binom.ppf(0.999, SETS, 0.05)  # what 5 % may come to by chance


def test_equal_groups_seldom_differ() -> None:
    claims = false_claims(seeds=1, seed_noise=0.0, sets=SETS)
    assert claims["exact"] <= MOST
    assert 0.01 * SETS <= claims["bootstrap"] <= MOST, "Holm of three is no more than cautious"


@pytest.mark.slow
def test_lucky_seeds_are_seldom_taken_for_a_better_group() -> None:
    claims = false_claims(seeds=3, seed_noise=0.6, sets=SETS)
    assert claims["both"] <= claims["bootstrap"] <= MOST
    assert claims["bootstrap"] >= 0.005 * SETS, "nor is it blind"
    assert claims["exact"] > 2 * MOST, "images alone do not account for seeds"
