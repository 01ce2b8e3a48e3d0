"""The majority baseline of a run's test split, and how an accuracy compares with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from dermaexp.core.text import percent
from dermaexp.metrics import classification
from dermaexp.metrics.significance import LEVEL, mcnemar_exact_of_counts, p_text


@dataclass(frozen=True)
class Baseline:
    """Always predicts the largest training class; `scores` are its test metrics.

    `predicted` is the class of each fold, or of the official split, as index and name.
    """

    predicted: tuple[tuple[int, str], ...]
    scores: dict[str, float]

    @property
    def names(self) -> str:
        """Such as “b”, or “b” or “c” if the folds' training images differ in it."""
        return " or ".join(f"“{name}”" for name in dict.fromkeys(n for _, n in self.predicted))

    @property
    def label(self) -> str:
        """Such as 'always "b"', for tables and legends."""
        return f"always {self.names}".replace("“", '"').replace("”", '"')

    def beside(self, accuracy: float, p: float, who: str) -> str:
        """Compares the `accuracy` of `who` in words; `p` is that of no difference, or NaN."""
        own = self.scores["accuracy"]
        each = ", the largest training class of each fold," if len(set(self.predicted)) > 1 else ""
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
            both = confusion[label, label]
            only_run += int(np.trace(confusion) - both)
            only_baseline += int(confusion[label].sum() - both)
        return mcnemar_exact_of_counts(only_run, only_baseline)


def baseline_of(*folds: Mapping[str, Any]) -> Baseline:
    """The baseline of a run's metrics.json, or of one per fold: its scores are means over folds."""
    predicted, scores = [], []
    for numbers in folds:
        label = numbers["data"]["classes"].index(numbers["majority_class"])
        predicted.append((label, numbers["majority_class"]))
        counts = np.sum(numbers["test"]["confusion_matrix"], axis=1)
        scores.append(classification.constant_prediction(counts, label))
    means = {name: fmean(fold[name] for fold in scores) for name in scores[0]}
    return Baseline(tuple(predicted), means)
