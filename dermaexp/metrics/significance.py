"""Significance of differences between classifiers: arrays in, numbers out.

The image is the unit: runs with other seeds predict the same images, so that more runs are not
more images. The bootstrap resamples the images (Efron & Tibshirani, An Introduction to the
Bootstrap, 1993), in the same way for every run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dermaexp.metrics.resampling import RESAMPLES

LEVEL = 0.05  # of all claims on a metric together
SMALLEST_P = 0.0001  # smaller ones are reported as below it


@dataclass(frozen=True)
class Difference:
    """First minus second, its 95 % interval, and a two-sided p of no difference."""

    estimate: float
    low: float
    high: float
    p: float


def mcnemar_exact(first_correct: np.ndarray, second_correct: np.ndarray) -> float:
    """Two-sided p that two classifiers err equally often, from booleans (N,) on the same images.

    McNemar's test with its binomial distribution (McNemar, Psychometrika 12:153, 1947).
    """
    only_first = int(np.sum(first_correct & ~second_correct))
    only_second = int(np.sum(second_correct & ~first_correct))
    return mcnemar_exact_of_counts(only_first, only_second)


def mcnemar_exact_of_counts(only_first: int, only_second: int) -> float:
    """`mcnemar_exact` from the numbers of images that only one of the two predicts correctly."""
    if only_first + only_second == 0:
        return 1.0
    from scipy.stats import binomtest  # takes longer to import than 500 runs to read

    return float(binomtest(only_first, only_first + only_second).pvalue)


def sign_flip_exact(first_correct: np.ndarray, second_correct: np.ndarray) -> float:
    """Two-sided p that two sets of runs have equal accuracy, from booleans (runs, N).

    An image's difference is the share of first runs that are correct minus that of second runs.
    Under the null the sign of each difference is a fair coin; with one run each this is McNemar's
    test. Exact to about 1e-12. Of several labels an image, booleans (runs, N, L), each label's
    answer counts as a run's.
    """
    first_correct, second_correct = map(_an_answer_a_row, (first_correct, second_correct))
    scale = math.lcm(len(first_correct), len(second_correct))
    first, second = (
        correct.sum(axis=0, dtype=np.int64) * (scale // len(correct))
        for correct in (first_correct, second_correct)
    )
    differences = first - second
    sizes, images = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    # The characteristic function of a sum of coins is a product of cosines; its Fourier
    # transform over more points than the sum has values is the sum's distribution.
    points = 1 << int(2 * (sizes * images).sum() + 1).bit_length()
    angles = 2 * np.pi * np.arange(points) / points
    product = np.ones(points)
    for size, count in zip(sizes, images, strict=True):
        product *= np.cos(size * angles) ** count
    distribution = np.fft.fft(product).real / points
    sums = np.fft.fftfreq(points, 1 / points)
    at_least_as_far = np.abs(sums) >= abs(differences.sum())
    return float(np.clip(distribution[at_least_as_far].sum(), 0.0, 1.0))


def difference(
    first: np.ndarray,
    second: np.ndarray,
    first_resampled: np.ndarray,
    second_resampled: np.ndarray,
    seed: int = 0,
) -> Difference:
    """The difference in a metric between two run groups: first's mean minus second's.

    `first` and `second` hold the metric on all images (runs,), `first_resampled` and
    `second_resampled` on the same resamples (runs, resamples). Noise for the choice of seeds is
    added to each resample's difference, so that claims hold for other seeds too: Welch's standard
    error over the runs times a sample of Student's t (Welch, Biometrika 34:28, 1947). A group with
    one run gives no estimate of it and adds none. All values are NaN if the metric is undefined.
    """
    estimate = float(first.mean() - second.mean())
    differences = first_resampled.mean(axis=0) - second_resampled.mean(axis=0)
    # A seed's luck with single images is part of both terms: this errs on the side of caution.
    differences += _seed_noise((first, second), len(differences), seed)
    differences = differences[~np.isnan(differences)].round(12)  # so that equal means are equal
    if math.isnan(estimate) or not len(differences):
        return Difference(math.nan, math.nan, math.nan, math.nan)
    low, high = np.percentile(differences, (2.5, 97.5))
    tail = min(np.sum(differences <= 0), np.sum(differences >= 0))
    p = min(1.0, 2 * (int(tail) + 1) / (len(differences) + 1))
    return Difference(estimate, float(low), float(high), p)


def mean_accuracy_interval(
    *correct: np.ndarray, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of the mean accuracy of several runs, from booleans (runs, N).

    Of several labels an image, booleans (runs, N, L), accuracy is the share of all labels.
    Resamples the images and adds noise for the choice of seeds, as `difference` does. Several
    arrays are folds: the interval is that of their mean, and each fold is resampled by itself.
    """
    generator = np.random.default_rng(seed)
    means = []
    shares_of = [fold.mean(axis=2) if fold.ndim == 3 else fold for fold in correct]
    for fold in shares_of:
        shares, images = np.unique(fold.mean(axis=0), return_counts=True)
        samples = fold.shape[1]
        # The number of images with each share in a resample: equivalent to sampling one by one.
        counts = generator.multinomial(samples, images / samples, resamples)
        means.append(counts @ shares / samples)
    accuracies = np.mean([fold.mean(axis=1) for fold in shares_of], axis=0)  # of the runs
    noisy = np.mean(means, axis=0) + _seed_noise([accuracies], resamples, seed)
    low, high = np.percentile(noisy, (2.5, 97.5)).clip(0.0, 1.0)
    return float(low), float(high)


def _an_answer_a_row(correct: np.ndarray) -> np.ndarray:
    """Booleans (runs, N), or (runs, N, L) as (runs * L, N)."""
    return correct if correct.ndim == 2 else np.concatenate(correct.swapaxes(1, 2))


def holm(pvalues: Sequence[float]) -> np.ndarray:
    """p values (M,) corrected for M tests (Holm, Scandinavian Journal of Statistics 6:65, 1979)."""
    values = np.asarray(pvalues, dtype=np.float64)
    order = values.argsort()
    corrected = np.empty_like(values)
    corrected[order] = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    return corrected.clip(max=1.0)


def _seed_noise(scores: Sequence[np.ndarray], resamples: int, seed: int) -> np.ndarray:
    """Noise (resamples,) that other seeds may add to a group's mean or two groups' difference."""
    several = [runs for runs in scores if len(runs) > 1]
    variances = [runs.var(ddof=1) / len(runs) for runs in several]
    variance = sum(variances)
    if not variance > 0:  # no scores vary, or one is NaN
        return np.zeros(resamples)
    parts = [v**2 / (len(runs) - 1) for v, runs in zip(variances, several, strict=True)]
    generator = np.random.default_rng([seed, 1])  # not the stream that resampled the images
    return math.sqrt(variance) * generator.standard_t(variance**2 / sum(parts), resamples)


def p_text(p: float, least: float = 0.0) -> str:
    """ "p = 0.031", or "p < 0.0001" if p is below that or at most `least`."""
    if p > least and p >= SMALLEST_P:
        # Never rounded to the level itself, which would hide the side of it that p is on.
        return f"p = {p:.2g}" if float(f"{p:.2g}") != LEVEL else f"p = {p:.3g}"
    bound = max(least, SMALLEST_P)
    digit = 10.0 ** math.floor(math.log10(bound))
    return f"p < {math.ceil(round(bound / digit, 2)) * digit:.1g}"
