"""Run groups: runs that differ in seed and fold only, with their means and label."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean, stdev
from typing import Any, TypeVar

import numpy as np

from dermaexp.compare.seeds import counted_runs
from dermaexp.compare.varied_keys import Varied, group_config, overrides_text, varied_values
from dermaexp.core.tasks import Task, task_of
from dermaexp.core.text import counted
from dermaexp.metrics import significance
from dermaexp.metrics.baseline import Baseline
from dermaexp.metrics.labels import is_correct
from dermaexp.runs.collect import Run

SPLITS = ("val", "test")
T = TypeVar("T")


@dataclass(frozen=True)
class RunGroup:
    """The finished runs of one config on the same data.

    `by_fold` holds the runs of each fold of a cross-validation, one per seed and ordered by it; the
    official split counts as one fold. `varied` maps the keys that the groups vary to this group's
    values, without keys that it does not have. `notes` are caveats on its numbers.
    """

    by_fold: tuple[tuple[Run, ...], ...]
    varied: dict[str, Any]
    label: str
    notes: tuple[str, ...]

    @property
    def runs(self) -> list[Run]:
        """All runs, fold by fold."""
        return [run for fold in self.by_fold for run in fold]

    @property
    def runs_per_fold(self) -> int:
        """The number of models that predict each test image: one per seed."""
        return len(self.by_fold[0])

    @property
    def seeds(self) -> list[int]:
        return sorted({run.record["seed"] for run in self.runs})

    @property
    def folds(self) -> list[int]:
        """The folds of a cross-validation that were run; empty for the official split."""
        return [fold[0].fold for fold in self.by_fold if fold[0].fold is not None]

    @property
    def tested_on(self) -> tuple[tuple[int | None, str, int], ...]:
        """Number, test fingerprint and number of test images of each fold.

        Groups can be compared if these are equal.
        """
        return tuple((fold[0].fold, *fold[0].tested_on) for fold in self.by_fold)

    @property
    def data(self) -> str:
        return self.runs[0].data["name"]

    @property
    def cross_validation(self) -> str:
        """Such as "5-fold cross-validation" or "folds 0, 1 of" it; empty for the official split."""
        if not self.folds:
            return ""
        folds = self.runs[0].split["folds"]
        part = "" if len(self.folds) == folds else f"{counted('fold', self.folds)} of "
        return f"{part}{folds}-fold cross-validation"

    @property
    def best_epoch(self) -> float | None:
        """Mean over the runs; None if one chose no epoch or was tested with its last."""
        return _mean([run.best_epoch for run in self.runs])

    @property
    def seconds(self) -> float:
        """Mean duration of a run."""
        return fmean(run.seconds for run in self.runs)

    def scores(self, split: str, metric: str) -> list[float | None]:
        """Score of each seed, or mean over seeds of each of several folds; None if undefined."""
        by_fold = [[run.score(split, metric) for run in fold] for fold in self.by_fold]
        return [_mean(scores) for scores in by_fold] if len(by_fold) > 1 else by_fold[0]

    def mean(self, split: str, metric: str) -> float | None:
        """Mean of the `scores`; None if one is undefined."""
        return _mean(self.scores(split, metric))

    def sd(self, split: str, metric: str) -> float | None:
        """Standard deviation of the `scores` (n - 1); None for a single one."""
        scores = _defined(self.scores(split, metric))
        return stdev(scores) if scores and len(scores) > 1 else None

    @property
    def confusion(self) -> np.ndarray:
        """Test counts (K, K) summed over all runs: row = true class.

        Of several labels an image, a table (L, 2, 2) for each: absent and present.
        """
        key = "confusion_matrices" if self.task == "multi-label" else "confusion_matrix"
        tests: list[Any] = [run.metrics["test"] for run in self.runs]
        return np.sum([test[key] for test in tests], axis=0)

    @property
    def task(self) -> Task:
        return task_of(self.runs[0].metrics["data"])

    def test_predictions(self) -> list[list[tuple[np.ndarray, np.ndarray]]] | None:
        """Targets (N,) or (N, L) and probabilities of each fold's runs; None if any are missing."""
        by_fold = [_defined([run.test_predictions() for run in fold]) for fold in self.by_fold]
        return _defined(by_fold)

    def accuracy_interval(self) -> tuple[float, float]:
        """95 % interval of the mean test accuracy; NaN if predictions cannot be read.

        Wilson's for a single run, which needs none; else `significance.mean_accuracy_interval`. Of
        several labels an image, a single run's is the bootstrap's in its metrics.json.
        """
        from dermaexp.metrics import intervals  # with SciPy, which a table needs nothing of

        if self.runs_per_fold == 1 and not self.folds:
            if self.task == "multi-label":
                ends = self.runs[0].metrics["test"]["intervals"]["accuracy"]
                low, high = (math.nan if end is None else end for end in ends)
                return low, high
            return intervals.wilson_interval(np.trace(self.confusion), self.confusion.sum())
        if self.correct is None:
            return math.nan, math.nan
        correct, _ = self.correct
        return significance.mean_accuracy_interval(*correct)

    def p_against(self, baseline: Baseline) -> float:
        """p of equal accuracy with `baseline`; NaN if predictions are missing.

        Pools the images of all folds. With several seeds it is the larger of two: the difference
        must hold for other images (sign flips) and for other seeds (Student's t).
        """
        if self.runs_per_fold == 1 and self.task != "multi-label":
            by_fold = [fold[0].metrics["test"]["confusion_matrix"] for fold in self.by_fold]
            return baseline.p_of_one_run(*map(np.array, by_fold))
        if self.correct is None:
            return math.nan
        correct = np.concatenate(self.correct[0], axis=1)
        labelled = zip(self.correct[1], baseline.predicted, strict=True)
        constant = np.concatenate([targets == np.array(label) for targets, (label, _) in labelled])
        of_images = significance.sign_flip_exact(correct, constant[None])
        accuracies = correct.reshape(len(correct), -1).mean(axis=1)
        if accuracies.std() == 0:  # the seeds show no variation to test against
            return of_images
        from scipy.stats import ttest_1samp

        return max(of_images, float(ttest_1samp(accuracies, constant.mean()).pvalue))

    @cached_property
    def correct(self) -> tuple[list[np.ndarray], list[np.ndarray]] | None:
        """Whether each fold's test predictions are correct (seeds, N), and its targets (N,).

        Both are (…, N, L) of several labels an image. None if any predictions are missing.
        """
        stored = self.test_predictions()
        if stored is None:
            return None
        correct = [np.stack([is_correct(*run) for run in fold]) for fold in stored]
        return correct, [fold[0][0] for fold in stored]


def run_groups(runs: Sequence[Run], keys: Mapping[str, Varied]) -> list[RunGroup]:
    """The groups of comparable `runs`, the highest mean val macro AUROC first.

    `keys` are those that the runs vary. Ties stay in the order of their first runs; an undefined
    mean ranks last.
    """
    by_config: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        config = json.dumps(group_config(run), sort_keys=True)
        key = (config, run.source_fingerprint, run.grouping_fingerprint)
        by_config.setdefault(key, []).append(run)
    groups = []
    for same in by_config.values():
        by_fold, notes = counted_runs(same)
        groups.append(RunGroup(by_fold, varied_values(by_fold[0][0], keys), "", notes))
    groups.sort(key=_val_score, reverse=True)
    return _labelled(groups)


def _defined(values: Sequence[T | None]) -> list[T] | None:
    """The values, or None if one of them is None."""
    defined = [value for value in values if value is not None]
    return defined if len(defined) == len(values) else None


def _mean(scores: Sequence[float | None]) -> float | None:
    defined = _defined(scores)
    return None if defined is None else fmean(defined)


def _val_score(group: RunGroup) -> float:
    mean = group.mean("val", "macro_auroc")
    return -1.0 if mean is None else mean


def _labelled(groups: Sequence[RunGroup]) -> list[RunGroup]:
    """The groups with unique labels: each says as much as distinguishes it."""
    details: tuple[Callable[[RunGroup], str], ...] = (
        lambda group: overrides_text(group.varied) or group.runs[0].name,
        lambda group: f" on {group.data}",
        lambda group: f" {group.runs[0].source_fingerprint[:8]}",
        lambda group: f" in {group.runs[0].directory.path}",
    )
    labels: dict[int, str] = {}
    texts = [""] * len(groups)
    for detail in details:
        texts = [text + detail(group) for text, group in zip(texts, groups, strict=True)]
        counts = Counter(texts)
        for index, text in enumerate(texts):
            if counts[text] == 1:
                labels.setdefault(index, text)
    return [replace(group, label=labels[index]) for index, group in enumerate(groups)]
