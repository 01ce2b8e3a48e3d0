"""Bootstrap resamples of the images, and the headline metrics on each.

Efron & Tibshirani, An Introduction to the Bootstrap, 1993. The images are resampled in the same way
for every run, so that differences between runs are paired. All counts are whole numbers of two
bytes where they fit, which a sparse product adds up several times as fast as floats.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dermaexp.metrics.labels import answers, indicators

if TYPE_CHECKING:  # a comparison that resampled its runs before needs no SciPy
    from scipy.sparse import csr_matrix

RESAMPLES = 10_000
KEPT = 5_000_000  # counts, of 2 or 4 bytes: those of a run's intervals, not of a comparison
BLOCK = 1024  # resamples at a time: the counts of some thousand samples stay in the CPU's cache


def bootstrap_counts(
    samples: int, resamples: int = RESAMPLES, seed: int = 0
) -> Iterator[np.ndarray]:
    """Counts of each sample in bootstrap resamples of the same size.

    Yields blocks of columns, integers (samples, some), `resamples` columns in all; not to be
    changed.
    """
    counted = _kept if samples * resamples <= KEPT else _counted
    yield from counted(samples, resamples, seed)


@functools.lru_cache(maxsize=4)  # val and test: the jobs of a sweep resample them alike
def _kept(samples: int, resamples: int, seed: int) -> list[np.ndarray]:
    return list(_counted(samples, resamples, seed))


def _counted(samples: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    generator = np.random.default_rng(seed)
    kind = _counting(samples)
    for start in range(0, resamples, BLOCK):
        counts = np.empty((min(BLOCK, resamples - start), samples), kind)
        for resample in counts:
            resample[:] = np.bincount(generator.integers(0, samples, samples), minlength=samples)
        yield np.ascontiguousarray(counts.T)


def _counting(samples: int) -> np.dtype:
    """The integers that hold twice the `samples`."""
    return np.dtype(np.int16 if 2 * samples <= np.iinfo(np.int16).max else np.int32)


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
    is_class = indicators(targets, probabilities[0].shape[1])
    runs = [_Run(is_class, run, several=targets.ndim == 2) for run in probabilities]
    of_class = _rows_of(is_class).matrix(len(targets))
    found: dict[str, np.ndarray] = {}
    start = 0
    for counts in bootstrap_counts(len(targets), resamples, seed):
        positives = of_class @ counts
        block = slice(start, start := start + counts.shape[1])
        for place, run in enumerate(runs):
            for name, scores in run.scores(counts, positives).items():
                if name not in found:
                    found[name] = np.empty((len(runs), resamples))
                found[name][place, block] = scores
    return found


class _Run:
    """One run's answers, for its scores with many counts of the samples at once.

    Several labels an image are answered one by one, and the number of classes is that of labels.
    """

    def __init__(self, is_class: np.ndarray, probabilities: np.ndarray, several: bool) -> None:
        classes = is_class.shape[1]
        is_predicted = (
            answers(probabilities) if several else indicators(probabilities.argmax(axis=1), classes)
        )
        self.several = several
        self.rankings = _rankings(is_class, probabilities)
        parts = [_rows_of(is_class & is_predicted), _rows_of(~is_class & is_predicted)]
        if several:
            parts.append(_rows_of((is_class == is_predicted).all(axis=1, keepdims=True)))
        for ranking in self.rankings:
            parts += [ranking.winners, ranking.losers] if ranking else []
        # One product for all of them: most of what a small one costs is its call.
        self.ends = np.cumsum([part.height for part in parts])
        starts = self.ends - [part.height for part in parts]
        rows = [part.rows + start for part, start in zip(parts, starts, strict=True)]
        columns = np.concatenate([part.columns for part in parts])
        self.parts = _Ones(np.concatenate(rows), columns, self.ends[-1]).matrix(len(is_class))

    def scores(self, counts: np.ndarray, positives: np.ndarray) -> dict[str, np.ndarray]:
        """By name, each (resamples,), with counts (N, resamples) and those of classes (K, …)."""
        hits, misses, *sides = np.split(self.parts @ counts, self.ends[:-1])
        right = sides.pop(0)[0] if self.several else hits.sum(axis=0)
        aurocs = _aurocs(self.rankings, sides, positives, len(counts))
        recall, f1 = _divide(hits, positives), _divide(2 * hits, positives + hits + misses)
        if not self.several:
            return {
                "accuracy": right / len(counts),
                "balanced_accuracy": _class_mean(recall),
                "macro_auroc": aurocs[1] if len(aurocs) == 2 else _class_mean(aurocs),
                "macro_f1": _class_mean(f1),
            }
        absent = len(counts) - positives
        rejected = absent - misses
        return {
            "accuracy": (hits + rejected).sum(axis=0) / (len(counts) * len(hits)),
            "balanced_accuracy": _class_mean((recall + _divide(rejected, absent)) / 2),
            "macro_auroc": _class_mean(aurocs),
            "macro_f1": _class_mean(f1),
            "subset_accuracy": right / len(counts),
        }


def bootstrap_average_precision(
    targets: np.ndarray, probabilities: np.ndarray, resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """The macro average precision (resamples,) of labels (N, L) on the resamples of `bootstrap`.

    A mean over the labels, as `multilabel.headline_scores` has it.
    """
    rankings = [
        _PrecisionRanking(own == 1, scores)
        for own, scores in zip(targets.T, probabilities.T, strict=True)
        if own.any()
    ]
    means = []
    for counts in bootstrap_counts(len(targets), resamples, seed):
        means.append(_class_mean(np.stack([one.average_precision(counts) for one in rankings])))
    return np.concatenate(means)


def _rankings(is_class: np.ndarray, probabilities: np.ndarray) -> list[_Ranking | None]:
    """The ranking of the images by each class's probability; None if one is NaN."""
    return [
        None if np.isnan(scores).any() else _Ranking(own, scores)
        for own, scores in zip(is_class.T, probabilities.T, strict=True)
    ]


class _PrecisionRanking:
    """Fixed scores (N,), for the average precision with many counts of the samples at once."""

    def __init__(self, is_positive: np.ndarray, scores: np.ndarray) -> None:
        positives = np.flatnonzero(is_positive)
        levels, level = np.unique(-scores[positives], return_inverse=True)
        self.hits = _Ones(level, positives, len(levels)).matrix(len(scores))
        # The level at which a sample is found first; those below all positives never matter.
        first = np.searchsorted(levels, -scores)
        found = np.flatnonzero(first < len(levels))
        self.found = _Ones(first[found], found, len(levels)).matrix(len(scores))

    def average_precision(self, counts: np.ndarray) -> np.ndarray:
        """Of counts (N, resamples), by resample; NaN for one without positives."""
        hits = self.hits @ counts
        all_hits = hits.cumsum(axis=0, dtype=np.float64)
        precision = _divide(all_hits, (self.found @ counts).cumsum(axis=0, dtype=np.float64))
        return _divide(np.where(hits > 0, hits * precision, 0.0).sum(axis=0), all_hits[-1])


class _Ranking:
    """The Mann-Whitney statistic of fixed scores (N,) for many counts of the samples at once.

    A negative wins against every positive that scores lower; a tie is half a win. Wins are counted
    in halves, so that they are whole numbers. The better the model, the fewer samples are in a pair
    that a negative wins: the others need no counting.
    """

    def __init__(self, is_positive: np.ndarray, scores: np.ndarray) -> None:
        winners, losers = np.flatnonzero(~is_positive), np.flatnonzero(is_positive)
        self.is_minority = len(losers) <= len(winners)
        levels, level = np.unique(scores[winners], return_inverse=True)
        # A loser counts half at the first level not below it and half at the first level above it:
        # usually the same level.
        first = [np.searchsorted(levels, scores[losers], side) for side in ("left", "right")]
        beating = np.concatenate(first)
        beaten = beating < len(levels)
        # Row i holds what the winners of row i beat but those of row i - 1 do not: winners with no
        # loser between them share a row, and those that beat nobody have none.
        starts, row = np.unique(beating[beaten], return_inverse=True)
        self.losers = _Ones(row, np.tile(losers, 2)[beaten], len(starts))
        row = np.searchsorted(starts, level, "right") - 1
        self.winners = _Ones(row[row >= 0], winners[row >= 0], len(starts))


class _Ones(NamedTuple):
    """A matrix of so many rows and a column a sample: where it has a one, or twice in one place."""

    rows: np.ndarray
    columns: np.ndarray
    height: int

    def matrix(self, samples: int) -> csr_matrix:
        from scipy.sparse import csr_matrix

        ones = np.ones(len(self.rows), _counting(samples))
        return csr_matrix((ones, (self.rows, self.columns)), shape=(self.height, samples))


def _rows_of(indicators: np.ndarray) -> _Ones:
    """A row for each column of indicators (N, K) bool."""
    samples, columns = indicators.nonzero()
    return _Ones(columns, samples, indicators.shape[1])


def _aurocs(
    rankings: Sequence[_Ranking | None],
    sides: Sequence[np.ndarray],
    positives: np.ndarray,
    samples: int,
) -> np.ndarray:
    """One-vs-rest AUROC (K, resamples), NaN for a class without positives or negatives.

    `sides` are the counts of each ranking's winners, and of its losers.
    """
    pairs = positives.astype(np.float64) * (samples - positives)
    aurocs = np.full(pairs.shape, np.nan)
    counted = iter(sides)
    for label, ranking in enumerate(rankings):
        if ranking is not None:
            lost = _wins(next(counted), next(counted)) / 2
            if ranking.is_minority:  # else the same up to the last digit, which earlier runs have
                aurocs[label] = _divide(pairs[label] - lost, pairs[label])
            else:
                aurocs[label] = 1 - _divide(lost, pairs[label])
    return aurocs


def _wins(winners: np.ndarray, losers: np.ndarray) -> np.ndarray:
    """Weighted half wins (resamples,) from the counts of a ranking's rows; adds up `losers`."""
    for lower, higher in itertools.pairwise(losers):  # a cumsum, row by row: cumsum strides
        higher += lower
    wide = np.int32 if losers.dtype == np.int16 else np.int64  # at most N * N / 2
    return np.multiply(winners, losers, dtype=wide).sum(axis=0, dtype=wide)


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient, NaN for 0 / 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(numerator, denominator, dtype=np.float64)


def _class_mean(values: np.ndarray) -> np.ndarray:
    """Mean over the classes (K, resamples) -> (resamples,), without undefined ones."""
    defined = ~np.isnan(values)
    return _divide(np.where(defined, values, 0.0).sum(axis=0), defined.sum(axis=0))
