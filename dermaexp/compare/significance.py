"""Tests the best run group by val against every other one, on the same test images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import numpy as np

from dermaexp.compare.resampled import TESTED, resampled_scores
from dermaexp.compare.run_groups import RunGroup
from dermaexp.core.console import progress_bar
from dermaexp.metrics import resampling, significance
from dermaexp.metrics.names import METRICS
from dermaexp.metrics.significance import LEVEL, Difference, p_text
from dermaexp.runs.collect import Run


@dataclass(frozen=True)
class Finding:
    """The difference of two run groups in one metric.

    `p` is corrected for the number of pairs, that of `difference` is not. `p_text` reports it as
    precisely as its test allows, `words` reports the finding as a sentence.
    """

    difference: Difference
    p: float
    p_text: str
    words: str


@dataclass(frozen=True)
class Pair:
    """The best run group by val, another one, and the findings by metric.

    A metric that is undefined in either group is missing.
    """

    best: RunGroup
    other: RunGroup
    findings: dict[str, Finding]


@dataclass(frozen=True)
class Evidence:
    """All pairs, how they were tested, and notes on groups that could not be."""

    pairs: tuple[Pair, ...] = ()
    method: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Scores:
    """The scores of a group's runs by metric, and which of their predictions are correct."""

    points: dict[str, np.ndarray]  # (runs,), means over the folds
    resampled: dict[str, np.ndarray]  # (resamples,), means over the folds and the runs
    correct: np.ndarray  # (runs, N) of all folds, or (runs, N, L) of several labels an image


def compare_with_best(
    groups: Sequence[RunGroup], resamples: int = resampling.RESAMPLES
) -> Evidence:
    """Tests `groups[0]`, the best by val, against every other group, on the same test images.

    In cross-validation a metric is the mean over the folds, and each fold is resampled by itself:
    models of different folds share no scale of scores, so that no AUROC can pool them.
    """
    if len(groups) < 2:
        return Evidence()
    readable, targets, notes = _readable(groups)
    if len(readable) < 2:
        return Evidence(notes=tuple(notes))
    scores = _scores(readable, targets, resamples)
    best, *others = readable
    findings: dict[str, dict[str, Finding]] = {other.label: {} for other in others}
    for metric in TESTED:
        found = [_difference(scores[best.label], scores[other.label], metric) for other in others]
        # Undefined differences are no comparisons.
        tested = [pair for pair in zip(others, found, strict=True) if not math.isnan(pair[1].p)]
        corrected = significance.holm([difference.p for _, difference in tested]).tolist()
        for (other, difference), p in zip(tested, corrected, strict=True):
            several = best.task == "multi-label" or best.runs_per_fold + other.runs_per_fold > 2
            is_resampled = metric != "accuracy" or several
            least = 2 / (resamples + 1) * len(tested) if is_resampled else 0.0
            words = sentence(best, other, metric, difference, p, least)
            findings[other.label][metric] = Finding(difference, p, p_text(p, least), words)
    pairs = tuple(Pair(best, other, findings[other.label]) for other in others)
    method = _method(best, sum(map(len, targets)), resamples, len(pairs))
    return Evidence(pairs, method, tuple(notes))


def sentence(
    best: RunGroup,
    other: RunGroup,
    metric: str,
    difference: Difference,
    p: float,
    least_p: float = 0.0,
) -> str:
    """The finding in words; a p of at most `least_p` is reported as below it."""
    estimate, low, high = difference.estimate, difference.low, difference.high
    first, second = best, other
    if p < LEVEL and estimate < 0:
        first, second = other, best
        estimate, low, high = -estimate, -high, -low
    if p < LEVEL:
        verdict = f"{first.label} beats {second.label}"
    else:
        verdict = f"no difference shown between {first.label} and {second.label}"
    size = f"{estimate:+z.3f}, 95 % CI {low:z.3f} to {high:z.3f}"
    if METRICS[metric].is_share:
        size = f"{100 * estimate:+z.1f} points, 95 % CI {100 * low:z.1f} to {100 * high:z.1f}"
    seeds = {
        (True, True): " (one seed each)",
        (True, False): " (one seed of the first)",
        (False, True): " (one seed of the second)",
    }
    remark = seeds.get((first.runs_per_fold == 1, second.runs_per_fold == 1), "")
    # Otherwise an interval without 0 would seem to contradict the verdict.
    corrected = " after the correction" if p >= LEVEL and low * high > 0 else ""
    return f"{verdict} in {METRICS[metric].label}: {size}, {p_text(p, least_p)}{corrected}{remark}"


def _readable(
    groups: Sequence[RunGroup],
) -> tuple[list[RunGroup], list[np.ndarray], list[str]]:
    """The groups whose test predictions can be read and are of the same images.

    Also returns the targets of each fold, and notes on the groups that are left out.
    """
    found: list[RunGroup] = []
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
                found.append(group)
                continue
            reason = "the predictions are of other test images"
        notes.append(f"{group.label} is in no test: {reason}")
        if group is groups[0]:
            notes = [f"nothing was tested: {group.label} is the best by val, but {reason}"]
            return [], targets, notes
    return found, targets, notes


def _scores(
    groups: Sequence[RunGroup], targets: Sequence[np.ndarray], resamples: int
) -> dict[str, _Scores]:
    """The scores of each group's runs by label, with a progress bar."""
    scores = {}
    with progress_bar() as progress:
        runs = sum(len(group.runs) for group in groups)
        bar = progress.add_task(f"resampling the test images for {runs:,} runs", total=runs)
        by_fold = [
            resampled_scores(
                [run for group in groups for run in group.by_fold[fold]],
                truth,
                resamples,
                fold,  # seeds the resampling
                partial(progress.advance, bar),
            )
            for fold, truth in enumerate(targets)
        ]
        for group in groups:
            own = [list(islice(fold, group.runs_per_fold)) for fold in by_fold]
            resampled = np.mean(own, axis=(0, 1))
            points = np.mean([[_points(run) for run in fold] for fold in group.by_fold], axis=0)
            correct, _ = group.correct or ([], [])
            scores[group.label] = _Scores(
                dict(zip(TESTED, points.T, strict=True)),
                dict(zip(TESTED, resampled, strict=True)),
                np.concatenate(correct, axis=1),
            )
    return scores


def _points(run: Run) -> list[float]:
    """The `TESTED` scores on all test images, NaN where undefined."""
    found = (run.score("test", metric) for metric in TESTED)
    return [math.nan if score is None else score for score in found]


def _difference(best: _Scores, other: _Scores, metric: str) -> Difference:
    """The difference in `metric`; p of accuracy is exact, or the bootstrap's if that is larger.

    With one seed each p is McNemar's, unless an image has several labels. The exact test with
    several seeds ignores what seeds contribute, and the bootstrap is only approximate in what
    images do: the larger p stands.
    """
    difference = significance.difference(
        best.points[metric],
        other.points[metric],
        best.resampled[metric][None],
        other.resampled[metric][None],
    )
    if metric != "accuracy":
        return difference
    if len(best.correct) == len(other.correct) == 1 and best.correct.ndim == 2:
        return replace(difference, p=significance.mcnemar_exact(best.correct[0], other.correct[0]))
    exact = significance.sign_flip_exact(best.correct, other.correct)
    return replace(difference, p=max(exact, difference.p))


def _method(best: RunGroup, images: int, resamples: int, pairs: int) -> str:
    correction = f", Holm-corrected over {pairs} comparisons in each metric" if pairs > 1 else ""
    within, pooled, caveat = "", "", ""
    if best.folds:
        within = " within each fold, of the mean over the folds"
        pooled = " on the predictions of all folds together"
        caveat = (
            " The results do not cover other training images: folds share most of theirs, so that "
            "the spread over the folds does not measure that variation (Bengio & Grandvalet, JMLR "
            "5:1089, 2004). Images are resampled one by one, even if the split keeps them "
            "together: intervals are too narrow as far as such images are alike."
        )
    exact = (
        f"McNemar's exact test{pooled} with one seed each, else the larger of the resamples' p and "
        "the exact sign-flip test's"
    )
    if best.task == "multi-label":
        exact = f"the larger of the resamples' p and that of an exact sign-flip test{pooled}"
    return (
        f"Each run group is compared with the best by val on the same {images:,} test images. "
        f"Intervals: {resamples:,} bootstrap resamples of the images{within}, plus the spread of "
        "the seeds if a run group has several; they are not corrected for the number of "
        f"comparisons. p: two-sided, from the same resamples{correction}. For accuracy, p is "
        f"{exact}. One seed says nothing about other seeds.{caveat}"
    )
