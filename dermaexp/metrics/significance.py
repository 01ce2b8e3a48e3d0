"""Significance of differences between classifiers: arrays in, numbers out.

The image is the unit: runs with other seeds predict the same images, so that more runs are not
more images. The bootstrap resamples the images (Efron & Tibshirani, An Introduction to the
Bootstrap, 1993), in the same way for every run.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from scipy.stats import binomtest

from dermaexp.metrics.labels import answers, is_correct

LEVEL = 0.05  # of all claims on a metric together
SMALLEST_P = 0.0001  # smaller ones are reported as below it

RESAMPLES = 10_000
BLOCK = 256  # resamples at a time: their counts stay in the CPU's cache


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


def bootstrap_counts(
    samples: int, resamples: int = RESAMPLES, seed: int = 0
) -> Iterator[np.ndarray]:
    """Counts of each sample in bootstrap resamples of the same size.

    Yields blocks of columns, float32 (samples, at most BLOCK), `resamples` columns in all.
    """
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, BLOCK):
        block = min(BLOCK, resamples - start)
        chosen = generator.integers(0, samples, (block, samples))
        chosen += samples * np.arange(block)[:, None]
        counts = np.bincount(chosen.ravel(), minlength=block * samples)
        yield np.ascontiguousarray(counts.reshape(block, samples).T, dtype=np.float32)


def bootstrap(
    targets: np.ndarray,
    probabilities: Sequence[np.ndarray],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """The headline metrics (runs, resamples) of each run on each resample of the images.

    `targets` (N,) or (N, L) hold for all runs; `probabilities` holds an array (N, K) per run. The
    numbers equal those of `classification` or `multilabel` on the resampled images: means leave out
    absent classes. Of several labels an image, subset accuracy is among them.
    """
    if targets.ndim == 2:
        return _label_bootstrap(targets, probabilities, resamples, seed)
    classes = probabilities[0].shape[1]
    labels = np.arange(classes)[:, None]
    is_class = (targets == labels).astype(np.float32)
    is_predicted = np.stack([run.argmax(axis=1) == labels for run in probabilities]).astype(
        np.float32
    )
    hits = is_class * is_predicted
    rankings = [_rankings(targets, run) for run in probabilities]
    blocks = []
    for counts in bootstrap_counts(len(targets), resamples, seed):
        positives = is_class @ counts  # (K, block)
        hit_counts = hits @ counts  # (runs, K, block)
        aurocs = np.stack([_aurocs(ranking, positives, counts) for ranking in rankings])
        blocks.append(
            {
                "accuracy": hit_counts.sum(axis=1, dtype=np.float64) / len(targets),
                "balanced_accuracy": _class_mean(_divide(hit_counts, positives)),
                "macro_auroc": aurocs[:, 1] if classes == 2 else _class_mean(aurocs),
                "macro_f1": _class_mean(_divide(2 * hit_counts, positives + is_predicted @ counts)),
            }
        )
    return _joined(blocks)


def _label_bootstrap(
    targets: np.ndarray, probabilities: Sequence[np.ndarray], resamples: int, seed: int
) -> dict[str, np.ndarray]:
    """`bootstrap` of several labels an image."""
    samples = len(targets)
    has_label = targets.T.astype(np.float32)
    is_predicted = np.stack([answers(run).T for run in probabilities]).astype(np.float32)
    hits = has_label * is_predicted
    correct = np.stack([is_correct(targets, run) for run in probabilities])
    right = correct.sum(
        axis=2, dtype=np.float32
    )  # (runs, N), whole numbers, so that sums are exact
    is_right = correct.all(axis=2).astype(np.float32)
    rankings = [
        [
            None if np.isnan(scores).any() else _Ranking(own == 1, scores)
            for own, scores in zip(targets.T, run.T, strict=True)
        ]
        for run in probabilities
    ]
    blocks = []
    for counts in bootstrap_counts(samples, resamples, seed):
        positives, hit_counts = has_label @ counts, hits @ counts
        answered = is_predicted @ counts
        sensitivity = _divide(hit_counts, positives)
        absent = samples - positives
        specificity = _divide(absent - (answered - hit_counts), absent)
        aurocs = np.stack([_aurocs(ranking, positives, counts) for ranking in rankings])
        blocks.append(
            {
                "accuracy": (right @ counts).astype(np.float64) / targets.size,
                "balanced_accuracy": _class_mean((sensitivity + specificity) / 2),
                "macro_auroc": _class_mean(aurocs),
                "macro_f1": _class_mean(_divide(2 * hit_counts, positives + answered)),
                "subset_accuracy": (is_right @ counts).astype(np.float64) / samples,
            }
        )
    return _joined(blocks)


def _joined(blocks: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([block[name] for block in blocks], axis=1) for name in blocks[0]}


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


def _rankings(targets: np.ndarray, probabilities: np.ndarray) -> list[_Ranking | None]:
    """The ranking of the images by each class's probability; None if one is NaN."""
    return [
        None if np.isnan(scores).any() else _Ranking(targets == label, scores)
        for label, scores in enumerate(probabilities.T)
    ]


class _Ranking:
    """The Mann-Whitney statistic of fixed scores (N,) for many counts of the samples at once.

    A sample of the smaller side wins against every sample of the other side that scores lower; a
    tie is half a win.
    """

    def __init__(self, is_positive: np.ndarray, scores: np.ndarray) -> None:
        self.positives_win = is_positive.sum() <= len(scores) / 2
        winners = np.flatnonzero(is_positive == self.positives_win)
        losers = np.flatnonzero(is_positive != self.positives_win)
        levels, level = np.unique(scores[winners], return_inverse=True)
        self.winners = _selection(level, winners, 1.0, (len(levels), len(scores)))
        # Row i holds what level i beats but level i - 1 does not. A loser counts half at the first
        # level not below it and half at the first level above it: usually the same level.
        rows = [np.searchsorted(levels, scores[losers], side) for side in ("left", "right")]
        shape = (len(levels) + 1, len(scores))  # the last row: beaten by no level
        self.losers = _selection(np.concatenate(rows), np.tile(losers, 2), 0.5, shape)[:-1]

    def wins(self, counts: np.ndarray) -> np.ndarray:
        """Weighted wins (resamples,) of the smaller side for counts (N, resamples)."""
        beaten = self.losers @ counts
        for lower, higher in itertools.pairwise(beaten):  # a cumsum, row by row: cumsum strides
            higher += lower
        return (self.winners @ counts * beaten).sum(axis=0, dtype=np.float64)


def _selection(
    rows: np.ndarray, columns: np.ndarray, value: float, shape: tuple[int, int]
) -> csr_matrix:
    return csr_matrix((np.full(len(rows), value, np.float32), (rows, columns)), shape=shape)


def _aurocs(
    rankings: Sequence[_Ranking | None], positives: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """One-vs-rest AUROC (K, resamples), NaN for a class without positives or negatives."""
    pairs = positives.astype(np.float64) * (counts.sum(axis=0) - positives)
    aurocs = np.full(pairs.shape, np.nan)
    for label, ranking in enumerate(rankings):
        if ranking is not None:
            share = _divide(ranking.wins(counts), pairs[label])
            aurocs[label] = share if ranking.positives_win else 1 - share
    return aurocs


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient, NaN for 0 / 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(numerator, denominator, dtype=np.float64)


def _class_mean(values: np.ndarray) -> np.ndarray:
    """Mean over the classes (runs, K, resamples) -> (runs, resamples), without undefined ones."""
    defined = ~np.isnan(values)
    return _divide(np.where(defined, values, 0.0).sum(axis=1), defined.sum(axis=1))


def p_text(p: float, least: float = 0.0) -> str:
    """ "p = 0.031", or "p < 0.0001" if p is below that or at most `least`."""
    if p > least and p >= SMALLEST_P:
        # Never rounded to the level itself, which would hide the side of it that p is on.
        return f"p = {p:.2g}" if float(f"{p:.2g}") != LEVEL else f"p = {p:.3g}"
    bound = max(least, SMALLEST_P)
    digit = 10.0 ** math.floor(math.log10(bound))
    return f"p < {math.ceil(round(bound / digit, 2)) * digit:.1g}"
