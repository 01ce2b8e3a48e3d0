"""Which groups differ on test by more than chance: the best by val against each other one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dermaexp.compare.groups import Group
from dermaexp.metrics import classification, significance
from dermaexp.metrics.classification import HEADLINES
from dermaexp.metrics.significance import LEVEL, Difference, p_text

TESTED = ("accuracy", "balanced_accuracy", "macro_auroc")


@dataclass(frozen=True)
class Finding:
    """One metric of two groups: `p` is corrected for the number of pairs, the difference's is not.

    `p_text` tells p as finely as its test can, `words` is all of it as a sentence.
    """

    difference: Difference
    p: float
    p_text: str
    words: str


@dataclass(frozen=True)
class Pair:
    """The best group by val, another one, and what is found (metric -> Finding).

    A metric that is undefined in one of them is missing.
    """

    best: Group
    other: Group
    findings: dict[str, Finding]


@dataclass(frozen=True)
class Evidence:
    """All pairs, how they were tested, and which could not be."""

    pairs: tuple[Pair, ...]
    method: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Answers:
    """Metrics (runs,), the same on each draw (runs, draws), which answers are right (runs, N)."""

    points: dict[str, np.ndarray]
    replicates: dict[str, np.ndarray]
    correct: np.ndarray


def weigh(groups: Sequence[Group], draws: int = significance.DRAWS) -> Evidence:
    """Test `groups[0]`, the best by val, against each other group, on the same test images.

    In cross-validation a metric is its mean over the folds, whose images are drawn apart: the nets
    of different folds have no common scale of scores that would allow an AUROC of all together.
    """
    if len(groups) < 2:
        return Evidence((), "", ())
    predictions, targets, notes = _read(groups)
    if len(predictions) < 2:
        return Evidence((), "", tuple(notes))
    answers = _answers(predictions, targets, draws)
    best, *others = (group for group in groups if group.label in predictions)
    differences = {
        other.label: {
            metric: _difference(answers[best.label], answers[other.label], metric)
            for metric in TESTED
        }
        for other in others
    }
    corrected = {
        metric: _corrected({label: found[metric].p for label, found in differences.items()})
        for metric in TESTED
    }
    pairs = []
    for other in others:
        findings = {}
        for metric, difference in differences[other.label].items():
            if other.label in corrected[metric]:
                p = corrected[metric][other.label]
                by_draws = metric != "accuracy" or best.replicates + other.replicates > 2
                least = 2 / (draws + 1) * len(corrected[metric]) if by_draws else 0.0
                words = sentence(best, other, metric, difference, p, least)
                findings[metric] = Finding(difference, p, p_text(p, least), words)
        pairs.append(Pair(best, other, findings))
    method = _method(sum(map(len, targets)), draws, len(pairs), bool(best.folds))
    return Evidence(tuple(pairs), method, tuple(notes))


def sentence(
    best: Group, other: Group, metric: str, difference: Difference, p: float, least_p: float = 0.0
) -> str:
    """The finding in words; of a p at or below `least_p` only that is known."""
    estimate, low, high = difference.estimate, difference.low, difference.high
    first, second = best, other
    if p < LEVEL and estimate < 0:
        first, second = other, best
        estimate, low, high = -estimate, -high, -low
    if p < LEVEL:
        verdict = f"{first.label} beats {second.label}"
    else:
        verdict = f"no difference shown between {first.label} and {second.label}"
    if metric == "macro_auroc":
        size = f"{estimate:+z.3f}, 95 % CI {low:z.3f} to {high:z.3f}"
    else:
        size = f"{100 * estimate:+z.1f} points, 95 % CI {100 * low:z.1f} to {100 * high:z.1f}"
    seeds = {
        (True, True): " (one seed each)",
        (True, False): " (one seed of the first)",
        (False, True): " (one seed of the second)",
    }
    remark = seeds.get((first.replicates == 1, second.replicates == 1), "")
    # Else an interval without 0 would seem to say the opposite.
    corrected = " after the correction" if p >= LEVEL and low * high > 0 else ""
    return f"{verdict} in {HEADLINES[metric]}: {size}, {p_text(p, least_p)}{corrected}{remark}"


def _read(
    groups: Sequence[Group],
) -> tuple[dict[str, list[list[np.ndarray]]], list[np.ndarray], list[str]]:
    """By label each fold's test probabilities, one a seed; each fold's targets; notes on others."""
    found: dict[str, list[list[np.ndarray]]] = {}
    targets: list[np.ndarray] = []
    notes = []
    for group in groups:
        stored = group.test_predictions()
        if stored is None:
            reason = "not every run left a predictions.npz that can be read"
        else:
            targets = targets if found else [fold[0][0] for fold in stored]
            if all(
                np.array_equal(own, truth)
                for fold, truth in zip(stored, targets, strict=True)
                for own, _ in fold
            ):
                found[group.label] = [[run for _, run in fold] for fold in stored]
                continue
            reason = "the predictions are of other test images"
        notes.append(f"{group.label} is in no test: {reason}")
        if group is groups[0]:
            return (
                {},
                targets,
                [f"nothing was tested: {group.label} is the best by val, but {reason}"],
            )
    return found, targets, notes


def _answers(
    predictions: Mapping[str, Sequence[Sequence[np.ndarray]]],
    targets: Sequence[np.ndarray],
    draws: int,
) -> dict[str, _Answers]:
    by_fold = [
        _of_fold(own, [run for group in predictions.values() for run in group[fold]], draws, fold)
        for fold, own in enumerate(targets)
    ]
    answers, start = {}, 0
    for label, group in predictions.items():
        own = slice(start, start + len(group[0]))
        answers[label] = _Answers(
            _means([{metric: fold.points[metric][own] for metric in TESTED} for fold in by_fold]),
            _means([{m: fold.replicates[m][own] for m in TESTED} for fold in by_fold]),
            np.concatenate([fold.correct[own] for fold in by_fold], axis=1),
        )
        start += len(group[0])
    return answers


def _of_fold(targets: np.ndarray, runs: Sequence[np.ndarray], draws: int, fold: int) -> _Answers:
    """Of all groups' runs; the fold seeds its draws, so that they are independent."""
    confusions = [
        classification.confusion_matrix(targets, run.argmax(axis=1), run.shape[1]) for run in runs
    ]
    points = {
        "accuracy": np.array([classification.accuracy(confusion) for confusion in confusions]),
        "balanced_accuracy": np.array([classification.balanced_accuracy(c) for c in confusions]),
        "macro_auroc": np.array([classification.macro_auroc(targets, run) for run in runs]),
    }
    correct = np.stack([run.argmax(axis=1) == targets for run in runs])
    return _Answers(points, significance.bootstrap(targets, runs, draws, seed=fold), correct)


def _means(folds: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {metric: np.mean([fold[metric] for fold in folds], axis=0) for metric in folds[0]}


def _difference(best: _Answers, other: _Answers, metric: str) -> Difference:
    """Of accuracy, p is exact: alone with one seed each, else where the bootstrap's is not larger.

    The exact test knows nothing of seeds, the bootstrap only nearly what images do.
    """
    difference = significance.difference(
        best.points[metric], other.points[metric], best.replicates[metric], other.replicates[metric]
    )
    if metric != "accuracy":
        return difference
    if len(best.correct) == len(other.correct) == 1:
        return replace(difference, p=significance.mcnemar_exact(best.correct[0], other.correct[0]))
    exact = significance.sign_flip_exact(best.correct, other.correct)
    return replace(difference, p=max(exact, difference.p))


def _corrected(pvalues: Mapping[str, float]) -> dict[str, float]:
    """Holm's correction, by label; undefined ones are no comparisons."""
    defined = {label: p for label, p in pvalues.items() if not math.isnan(p)}
    return dict(zip(defined, significance.holm(list(defined.values())).tolist(), strict=True))


def _method(images: int, draws: int, pairs: int, cross_validated: bool) -> str:
    correction = f", Holm-corrected over {pairs} comparisons in each metric" if pairs > 1 else ""
    within, pooled, caveat = "", "", ""
    if cross_validated:
        within = " within each fold, of the mean over the folds"
        pooled = " on the answers of all folds together"
        caveat = (
            " Nothing is said of other training images: folds share most of theirs, so that the "
            "spread over the folds does not measure that chance (Bengio & Grandvalet, JMLR 5:1089, "
            "2004). Images are drawn one by one, also those that the split keeps together: as far "
            "as those are alike, intervals are too narrow."
        )
    return (
        f"Each group against the best by val, on the same {images:,} test images. Intervals: "
        f"{draws:,} bootstrap draws of the images{within}, with the spread of the seeds where a "
        "group has several, each for its comparison alone. p: two-sided and from the same draws"
        f"{correction}; of accuracy with one seed each from McNemar's exact test{pooled}, with "
        "several the larger of the draws' and the exact sign-flip test's. A group with one seed "
        f"tells nothing of its other seeds.{caveat}"
    )
