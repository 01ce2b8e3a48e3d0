"""Runs that differ by their seed and fold alone are one group: its means, its name."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean, stdev
from typing import Any

import numpy as np
from scipy.stats import ttest_1samp

from dermaexp.compare.replicates import counting_runs
from dermaexp.compare.settings import identity_of, settings_text, varied_keys, varied_settings
from dermaexp.core.text import counted
from dermaexp.metrics import intervals, significance
from dermaexp.metrics.baseline import Baseline
from dermaexp.runs.collect import Run

METRICS = ("accuracy", "balanced_accuracy", "macro_auroc", "macro_f1")
SPLITS = ("val", "test")


@dataclass(frozen=True)
class Group:
    """The finished runs of one configuration on the same data.

    `by_fold` holds those of each fold of a cross-validation, one a seed and ordered by it, or of
    the official split as if of a single fold; `settings` what the groups vary (key -> value,
    without keys that this group has not), `notes` what a reader must know before believing its
    numbers.
    """

    by_fold: tuple[tuple[Run, ...], ...]
    settings: dict[str, Any]
    label: str
    notes: tuple[str, ...]

    @property
    def runs(self) -> list[Run]:
        """All, fold by fold."""
        return [run for fold in self.by_fold for run in fold]

    @property
    def replicates(self) -> int:
        """How many nets answered each test image: one a seed."""
        return len(self.by_fold[0])

    @property
    def seeds(self) -> list[int]:
        return sorted({run.record["seed"] for run in self.runs})

    @property
    def folds(self) -> list[int]:
        """Those of a cross-validation that were run; none of the official split."""
        return [fold[0].fold for fold in self.by_fold if fold[0].fold is not None]

    @property
    def tested_on(self) -> tuple[tuple[int | None, str, int], ...]:
        """Of each fold its number, and the fingerprint and number of its test images.

        Groups that were tested on the same can be compared.
        """
        return tuple((fold[0].fold, *fold[0].tested_on) for fold in self.by_fold)

    @property
    def data(self) -> str:
        return self.runs[0].data["name"]

    @property
    def cross_validation(self) -> str:
        """Such as "5-fold cross-validation", or "folds 0, 1 of" it; nothing of the official one."""
        if not self.folds:
            return ""
        folds = self.runs[0].split["folds"]
        part = "" if len(self.folds) == folds else f"{counted('fold', self.folds)} of "
        return f"{part}{folds}-fold cross-validation"

    @property
    def best_epoch(self) -> float | None:
        """Mean over the runs; None where one chose no epoch, or was tested with the last."""
        epochs = [run.best_epoch for run in self.runs]
        return None if None in epochs else fmean(epochs)

    @property
    def seconds(self) -> float:
        """Mean over the runs, of the whole run."""
        return fmean(run.seconds for run in self.runs)

    def scores(self, split: str, metric: str) -> list[float | None]:
        """Of each seed, or of several folds each one's mean over its seeds; None if undefined."""
        by_fold = [[run.score(split, metric) for run in fold] for fold in self.by_fold]
        return [_mean(scores) for scores in by_fold] if len(by_fold) > 1 else by_fold[0]

    def mean(self, split: str, metric: str) -> float | None:
        """Mean of the `scores`; None where one is undefined."""
        return _mean(self.scores(split, metric))

    def sd(self, split: str, metric: str) -> float | None:
        """Standard deviation of the `scores` (n - 1); None of a single one."""
        scores = self.scores(split, metric)
        return stdev(scores) if len(scores) > 1 and None not in scores else None

    @property
    def confusion(self) -> np.ndarray:
        """Test counts (K, K) of all runs together: row = true class."""
        return np.sum([run.metrics["test"]["confusion_matrix"] for run in self.runs], axis=0)

    def test_predictions(self) -> list[list[tuple[np.ndarray, np.ndarray]]] | None:
        """Of each fold's runs the targets (N,) and probabilities (N, K); None without them all."""
        by_fold = [[run.test_predictions() for run in fold] for fold in self.by_fold]
        return None if any(None in stored for stored in by_fold) else by_fold

    def accuracy_interval(self) -> tuple[float, float]:
        """95 % interval of the mean test accuracy; NaN where its predictions cannot be read.

        Wilson's of one run, which needs none; else that of `significance.mean_accuracy_interval`.
        """
        if self.replicates == 1 and not self.folds:
            return intervals.wilson_interval(np.trace(self.confusion), self.confusion.sum())
        if self._answers is None:
            return math.nan, math.nan
        correct, _ = self._answers
        return significance.mean_accuracy_interval(*correct)

    def p_against(self, baseline: Baseline) -> float:
        """p that the group is right as often as `baseline`; NaN where predictions are missing.

        The images of all folds count together. Of several seeds it is the larger of two, for the
        difference must stand against the chance of the images (sign flips) and that of the seeds
        (Student's t).
        """
        if self.replicates == 1:
            by_fold = [fold[0].metrics["test"]["confusion_matrix"] for fold in self.by_fold]
            return baseline.p_of_one_run(*map(np.array, by_fold))
        if self._answers is None:
            return math.nan
        correct = np.concatenate(self._answers[0], axis=-1)
        constant = np.concatenate(
            [
                targets == answer
                for targets, (answer, _) in zip(self._answers[1], baseline.answers, strict=True)
            ]
        )
        of_images = significance.sign_flip_exact(correct, constant[None])
        accuracies = correct.mean(axis=1)
        if accuracies.std() == 0:  # nothing to tell the seeds' chance from
            return of_images
        return max(of_images, float(ttest_1samp(accuracies, constant.mean()).pvalue))

    @cached_property
    def _answers(self) -> tuple[list[np.ndarray], list[np.ndarray]] | None:
        """Of each fold, which test answers are right (seeds, N), and the targets (N,)."""
        stored = self.test_predictions()
        if stored is None:
            return None
        correct = [
            np.stack([probabilities.argmax(axis=1) == targets for targets, probabilities in fold])
            for fold in stored
        ]
        return correct, [fold[0][0] for fold in stored]


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """The groups of `runs` that can be compared, the highest mean val macro AUROC first.

    Equals stay in the order of their first runs; an undefined mean is below every other.
    """
    by_config: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        settings = json.dumps(identity_of(run), sort_keys=True)
        key = (settings, run.source_fingerprint, run.grouping_fingerprint)
        by_config.setdefault(key, []).append(run)
    keys = varied_keys(runs)
    groups = []
    for same in by_config.values():
        by_fold, notes = counting_runs(same)
        groups.append(Group(by_fold, varied_settings(by_fold[0][0], keys), "", notes))
    groups.sort(key=_val_score, reverse=True)
    return _labelled(groups)


def _mean(scores: Sequence[float | None]) -> float | None:
    return None if None in scores else fmean(scores)


def _val_score(group: Group) -> float:
    mean = group.mean("val", "macro_auroc")
    return -1.0 if mean is None else mean


def _labelled(groups: Sequence[Group]) -> list[Group]:
    """The groups with a label each that no other has."""

    def settings(group: Group) -> str:
        return settings_text(group.settings) or group.runs[0].name

    def data(group: Group) -> str:
        return f"{settings(group)} on {group.data}"

    def fingerprint(group: Group) -> str:
        return f"{data(group)} {group.runs[0].source_fingerprint[:8]}"

    def folder(group: Group) -> str:
        return f"{fingerprint(group)} in {group.runs[0].directory.path}"

    labels: dict[int, str] = {}
    for label in (settings, data, fingerprint, folder):
        texts = [label(group) for group in groups]
        for index, text in enumerate(texts):
            if texts.count(text) == 1:
                labels.setdefault(index, text)
    return [replace(group, label=labels[index]) for index, group in enumerate(groups)]
