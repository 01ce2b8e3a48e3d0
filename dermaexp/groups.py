"""Runs that differ by their seed alone are one group: its means, its name."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean, stdev
from typing import Any

import numpy as np
from scipy.stats import ttest_1samp

from dermaexp import metrics, stats
from dermaexp.baseline import Baseline
from dermaexp.runs import Run
from dermaexp.varied import settings_text, varied_keys, varied_settings

METRICS = ("accuracy", "balanced_accuracy", "macro_auroc", "macro_f1")
SPLITS = ("val", "test")


@dataclass(frozen=True)
class Group:
    """The finished runs of one configuration on the same data, one a seed, ordered by seed.

    `settings` holds what the groups vary (key -> value, without keys that this group has not),
    `notes` what a reader must know before believing its numbers.
    """

    runs: tuple[Run, ...]
    settings: dict[str, Any]
    label: str
    notes: tuple[str, ...]

    @property
    def seeds(self) -> list[int]:
        return [run.record["seed"] for run in self.runs]

    @property
    def data(self) -> str:
        return self.runs[0].data["name"]

    @property
    def best_epoch(self) -> float | None:
        """Mean over the runs; None where one chose no epoch."""
        epochs = [run.metrics["best_epoch"] for run in self.runs]
        return None if None in epochs else fmean(epochs)

    @property
    def seconds(self) -> float:
        """Mean over the runs, of the whole run."""
        return fmean(run.seconds for run in self.runs)

    def mean(self, split: str, metric: str) -> float | None:
        """Mean over the runs; None where the metric is undefined in one of them."""
        scores = self._scores(split, metric)
        return fmean(scores) if scores else None

    def sd(self, split: str, metric: str) -> float | None:
        """Standard deviation over the runs (n - 1); None of one run."""
        scores = self._scores(split, metric)
        return stdev(scores) if len(scores) > 1 else None

    @property
    def confusion(self) -> np.ndarray:
        """Test counts (K, K) of all runs together: row = true class."""
        return np.sum([run.metrics["test"]["confusion_matrix"] for run in self.runs], axis=0)

    def accuracy_interval(self) -> tuple[float, float]:
        """95 % interval of the mean test accuracy; NaN where its predictions cannot be read.

        Wilson's of one run, which needs none; that of `stats.mean_accuracy_interval` of several.
        """
        if len(self.runs) == 1:
            return metrics.wilson_interval(np.trace(self.confusion), self.confusion.sum())
        if self._answers is None:
            return math.nan, math.nan
        correct, _ = self._answers
        return stats.mean_accuracy_interval(correct)

    def p_against(self, baseline: Baseline) -> float:
        """p that the group is right as often as `baseline`; NaN where predictions are missing.

        Of several runs it is the larger of two, for the difference must stand against the chance
        of the images (sign flips) and that of the seeds (Student's t).
        """
        if len(self.runs) == 1:
            return baseline.p_of_one_run(self.confusion)
        if self._answers is None:
            return math.nan
        correct, targets = self._answers
        constant = targets == baseline.label_index
        of_images = stats.sign_flip_exact(correct, constant[None])
        accuracies = correct.mean(axis=1)
        if accuracies.std() == 0:  # nothing to tell the seeds' chance from
            return of_images
        return max(of_images, float(ttest_1samp(accuracies, constant.mean()).pvalue))

    @cached_property
    def _answers(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Which test answers are right (runs, N), and the targets (N,); None without them all."""
        stored = [run.test_predictions() for run in self.runs]
        if None in stored:
            return None
        correct = [probabilities.argmax(axis=1) == targets for probabilities, targets in stored]
        return np.stack(correct), stored[0][1]

    def _scores(self, split: str, metric: str) -> list[float]:
        scores = [run.score(split, metric) for run in self.runs]
        return [] if None in scores else scores


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """The groups of `runs` that can be compared, the highest mean val macro AUROC first.

    Equals stay in the order of their first runs; an undefined mean is below every other.
    """
    by_config: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        config = {key: value for key, value in run.record["config"].items() if key != "seed"}
        key = (json.dumps(config, sort_keys=True), run.data["fingerprint"])
        by_config.setdefault(key, []).append(run)
    keys = varied_keys(runs)
    groups = []
    for same in by_config.values():
        latest = {
            run.record["seed"]: run
            for run in sorted(same, key=lambda run: run.record.get("finished") or "")
        }
        chosen = tuple(latest[seed] for seed in sorted(latest))
        settings = varied_settings(chosen[0], keys)
        groups.append(Group(chosen, settings, "", _duplicates(same)))
    groups.sort(key=_val_score, reverse=True)
    return _labelled(groups)


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
        return f"{data(group)} {group.runs[0].data['fingerprint'][:8]}"

    def folder(group: Group) -> str:
        return f"{fingerprint(group)} in {group.runs[0].directory.path}"

    labels: dict[int, str] = {}
    for label in (settings, data, fingerprint, folder):
        texts = [label(group) for group in groups]
        for index, text in enumerate(texts):
            if texts.count(text) == 1:
                labels.setdefault(index, text)
    return [replace(group, label=labels[index]) for index, group in enumerate(groups)]


def _duplicates(runs: Sequence[Run]) -> tuple[str, ...]:
    counts = Counter(run.record["seed"] for run in runs)
    return tuple(
        f"seed {seed} was run {count} times: the latest counts"
        for seed, count in sorted(counts.items())
        if count > 1
    )
