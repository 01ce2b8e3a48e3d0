"""Bootstrap resamples of the images, and the headline metrics on each.

Efron & Tibshirani, An Introduction to the Bootstrap, 1993. The images are resampled in the same way
for every run, so that differences between runs are paired.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import csr_matrix

from dermaexp.metrics.labels import answers, is_correct

RESAMPLES = 10_000
BLOCK = 256  # resamples at a time: their counts stay in the CPU's cache


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
        found = np.stack([ranking.average_precision(counts) for ranking in rankings])
        means.append(_class_mean(found[None])[0])
    return np.concatenate(means)


def _joined(blocks: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([block[name] for block in blocks], axis=1) for name in blocks[0]}


def _rankings(targets: np.ndarray, probabilities: np.ndarray) -> list[_Ranking | None]:
    """The ranking of the images by each class's probability; None if one is NaN."""
    return [
        None if np.isnan(scores).any() else _Ranking(targets == label, scores)
        for label, scores in enumerate(probabilities.T)
    ]


class _PrecisionRanking:
    """Fixed scores (N,), for the average precision with many counts of the samples at once."""

    def __init__(self, is_positive: np.ndarray, scores: np.ndarray) -> None:
        positives = np.flatnonzero(is_positive)
        levels, level = np.unique(-scores[positives], return_inverse=True)
        shape = (len(levels), len(scores))
        self.hits = _selection(level, positives, 1.0, shape)
        # The level at which a sample is found first; those below all positives never matter.
        first = np.searchsorted(levels, -scores)
        found = np.flatnonzero(first < len(levels))
        self.found = _selection(first[found], found, 1.0, shape)

    def average_precision(self, counts: np.ndarray) -> np.ndarray:
        """Of counts (N, resamples), by resample; NaN for one without positives."""
        hits = (self.hits @ counts).astype(np.float64)
        all_hits = hits.cumsum(axis=0)
        precision = _divide(all_hits, (self.found @ counts).cumsum(axis=0, dtype=np.float64))
        return _divide(np.where(hits > 0, hits * precision, 0.0).sum(axis=0), all_hits[-1])


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
