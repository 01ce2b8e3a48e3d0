"""Which groups differ on test by more than chance: the best by val against each other one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dermaexp import metrics, stats
from dermaexp.console import HEADLINES
from dermaexp.groups import Group
from dermaexp.significance import LEVEL, p_text
from dermaexp.stats import Difference

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
    """A group's metrics (runs,), the same on each draw (runs, draws), right answers (runs, N)."""

    points: dict[str, np.ndarray]
    replicates: dict[str, np.ndarray]
    correct: np.ndarray


def weigh(groups: Sequence[Group], draws: int = stats.DRAWS) -> Evidence:
    """Test `groups[0]`, the best by val, against each other group, on the same test images."""
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
                by_draws = metric != "accuracy" or len(best.runs) + len(other.runs) > 2
                least = 2 / (draws + 1) * len(corrected[metric]) if by_draws else 0.0
                words = sentence(best, other, metric, difference, p, least)
                findings[metric] = Finding(difference, p, p_text(p, least), words)
        pairs.append(Pair(best, other, findings))
    return Evidence(tuple(pairs), _method(len(targets), draws, len(pairs)), tuple(notes))


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
    remark = seeds.get((len(first.runs) == 1, len(second.runs) == 1), "")
    # Else an interval without 0 would seem to say the opposite.
    corrected = " after the correction" if p >= LEVEL and low * high > 0 else ""
    return f"{verdict} in {HEADLINES[metric]}: {size}, {p_text(p, least_p)}{corrected}{remark}"


def _read(
    groups: Sequence[Group],
) -> tuple[dict[str, list[np.ndarray]], np.ndarray, list[str]]:
    """Test probabilities of each group's runs, by label; the targets; notes on groups without."""
    found: dict[str, list[np.ndarray]] = {}
    targets, notes = np.array([]), []
    for group in groups:
        arrays = [run.test_predictions() for run in group.runs]
        if None in arrays:
            reason = "not every run left a predictions.npz that can be read"
        else:
            runs, answers = zip(*arrays, strict=True)
            targets = targets if found else answers[0]
            if all(np.array_equal(own, targets) for own in answers):
                found[group.label] = list(runs)
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
    predictions: Mapping[str, Sequence[np.ndarray]], targets: np.ndarray, draws: int
) -> dict[str, _Answers]:
    runs = [probabilities for group in predictions.values() for probabilities in group]
    replicates = stats.bootstrap(runs, targets, draws)
    confusions = [
        metrics.confusion_matrix(run.argmax(axis=1), targets, run.shape[1]) for run in runs
    ]
    points = {
        "accuracy": np.array([metrics.accuracy(confusion) for confusion in confusions]),
        "balanced_accuracy": np.array([metrics.balanced_accuracy(c) for c in confusions]),
        "macro_auroc": np.array([metrics.macro_auroc(run, targets) for run in runs]),
    }
    correct = np.stack([run.argmax(axis=1) == targets for run in runs])
    answers, start = {}, 0
    for label, group in predictions.items():
        own = slice(start, start + len(group))
        answers[label] = _Answers(
            {metric: values[own] for metric, values in points.items()},
            {metric: values[own] for metric, values in replicates.items()},
            correct[own],
        )
        start += len(group)
    return answers


def _difference(best: _Answers, other: _Answers, metric: str) -> Difference:
    """Of accuracy, p is exact: alone with one seed each, else where the bootstrap's is not larger.

    The exact test knows nothing of seeds, the bootstrap only nearly what images do.
    """
    difference = stats.difference(
        best.points[metric], other.points[metric], best.replicates[metric], other.replicates[metric]
    )
    if metric != "accuracy":
        return difference
    if len(best.correct) == len(other.correct) == 1:
        return replace(difference, p=stats.mcnemar_exact(best.correct[0], other.correct[0]))
    exact = stats.sign_flip_exact(best.correct, other.correct)
    return replace(difference, p=max(exact, difference.p))


def _corrected(pvalues: Mapping[str, float]) -> dict[str, float]:
    """Holm's correction, by label; undefined ones are no comparisons."""
    defined = {label: p for label, p in pvalues.items() if not math.isnan(p)}
    return dict(zip(defined, stats.holm(list(defined.values())).tolist(), strict=True))


def _method(images: int, draws: int, pairs: int) -> str:
    correction = f", Holm-corrected over {pairs} comparisons in each metric" if pairs > 1 else ""
    return (
        f"Each group against the best by val, on the same {images:,} test images. Intervals: "
        f"{draws:,} bootstrap draws of the images, with the spread of the seeds where a group has "
        "several, each for its comparison alone. p: two-sided and from the same draws"
        f"{correction}; of accuracy with one seed each from McNemar's exact test, with several the "
        "larger of the draws' and the exact sign-flip test's. A group with one seed tells nothing "
        "of its other seeds."
    )
