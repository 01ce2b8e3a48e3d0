"""The majority baseline of a run's test split, and how an accuracy compares with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from statistics import fmean
from typing import Any

import numpy as np

from dermaexp.core.tasks import Task, task_of
from dermaexp.core.text import percent
from dermaexp.metrics import constant
from dermaexp.metrics.significance import LEVEL, mcnemar_exact_of_counts, p_text


@dataclass(frozen=True)
class Baseline:
    """Always predicts the largest training class; `scores` are its test metrics.

    `predicted` is the class of each fold, or of the official split, as index and name. Of several
    labels an image, it is those that most training images have: indicators (L,) and their names.
    """

    predicted: tuple[tuple[int | tuple[int, ...], str], ...]
    scores: dict[str, float]

    @property
    def names(self) -> str:
        """Such as “b”, or “b” or “c” if the folds' training images differ in it."""
        quoted = (f"“{name}”" if isinstance(own, int) else name for own, name in self.predicted)
        return " or ".join(dict.fromkeys(quoted))

    @property
    def label(self) -> str:
        """Such as 'always "b"', for tables and legends."""
        return f"always {self.names}".replace("“", '"').replace("”", '"')

    def beside(self, accuracy: float, p: float, who: str) -> str:
        """Compares the `accuracy` of `who` in words; `p` is that of no difference, or NaN."""
        own = self.scores["accuracy"]
        each = ""
        if len(set(self.predicted)) > 1:
            several = isinstance(self.predicted[0][0], tuple)
            what = "labels of most training images" if several else "largest training class"
            each = f", the {what} of each fold,"
        text = f"Always predicting {self.names}{each} scores {percent(own)} on the same images"
        if p != p:
            return f"{text}."
        if p >= LEVEL:
            return f"{text}: no difference in accuracy is shown ({p_text(p)})."
        return f"{text}: {who} does {'better' if accuracy > own else 'worse'} ({p_text(p)})."

    def p_of_one_run(self, *confusions: np.ndarray) -> float:
        """McNemar's exact p of equal accuracy, from a run's test counts (K, K) in each fold."""
        only_run, only_baseline = 0, 0  # images that one of the two predicts correctly
        for (label, _), confusion in zip(self.predicted, confusions, strict=True):
            assert isinstance(label, int)  # confusions are of classes
            both = confusion[label, label]
            only_run += int(np.trace(confusion) - both)
            only_baseline += int(confusion[label].sum() - both)
        return mcnemar_exact_of_counts(only_run, only_baseline)


def baseline_of(*folds: Mapping[str, Any]) -> Baseline:
    """The baseline of a run's metrics.json, or of one per fold: its scores are means over folds."""
    predicted, found = zip(*map(_of_fold, folds), strict=True)
    common = [name for name in found[0] if all(name in fold for fold in found)]
    means = {name: fmean(fold[name] for fold in found) for name in common}
    return Baseline(tuple(predicted), means)


def _of_fold(
    numbers: Mapping[str, Any],
) -> tuple[tuple[int | tuple[int, ...], str], dict[str, float]]:
    """What is predicted, with its name, and its scores."""
    classes = numbers["data"]["classes"]
    if task_of(numbers["data"]) == "multi-label":
        labels = numbers["majority_labels"]
        name = " and ".join(f"“{label}”" for label in labels) or "no label"
        undefined = {key: float("nan") for key, own in numbers["test"]["baseline"].items()}
        own = {key: own for key, own in numbers["test"]["baseline"].items() if own is not None}
        return (tuple(int(label in labels) for label in classes), name), undefined | own
    label = classes.index(numbers["majority_class"])
    counts = np.sum(numbers["test"]["confusion_matrix"], axis=1)
    own = _constant_scores(tuple(counts.tolist()), label, task_of(numbers["data"]))
    return (label, classes[label]), own


@cache  # the run groups of a comparison have one baseline
def _constant_scores(counts: tuple[int, ...], label: int, task: Task) -> dict[str, float]:
    if task == "multi-class":
        return constant.headline_scores(np.array(counts), label)
    from dermaexp.metrics import scores  # with scikit-learn, slower to import than 500 runs to read

    return scores.constant_prediction(np.array(counts), label, task)
