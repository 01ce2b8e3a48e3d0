"""The majority baseline of a run's test split, and what an accuracy is worth beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dermaexp import metrics, pages
from dermaexp.significance import LEVEL, p_text
from dermaexp.stats import mcnemar_exact_of_counts


@dataclass(frozen=True)
class Baseline:
    """Always answering the largest training class; `scores` are its test metrics."""

    label_index: int
    answer: str
    scores: dict[str, float]

    @property
    def label(self) -> str:
        return f'always "{self.answer}"'

    def beside(self, accuracy: float, p: float, who: str) -> str:
        """In words, what `accuracy` of `who` is worth; `p` is that of no difference, or NaN."""
        own = self.scores["accuracy"]
        told = f"Always answering “{self.answer}” scores {pages.percent(own)} on the same images"
        if p != p:
            return f"{told}."
        if p >= LEVEL:
            return f"{told}: no difference in accuracy is shown ({p_text(p)})."
        return f"{told}: {who} does {'better' if accuracy > own else 'worse'} ({p_text(p)})."

    def p_of_one_run(self, confusion: np.ndarray) -> float:
        """McNemar's exact p that a run with these test counts (K, K) is right as often."""
        right = np.diagonal(confusion).sum()
        both = confusion[self.label_index, self.label_index]
        of_answer = confusion[self.label_index].sum()
        return mcnemar_exact_of_counts(int(right - both), int(of_answer - both))


def baseline_of(numbers: Mapping[str, Any]) -> Baseline:
    """Made again from metrics.json: the test split's class counts and the majority's accuracy.

    Where several classes have that share of the images it is the first: the scores are the same.
    """
    counts = np.sum(numbers["test"]["confusion_matrix"], axis=1)
    majority = numbers["test"]["majority_accuracy"]
    largest = int(np.abs(counts / counts.sum() - majority).argmin())
    targets = np.repeat(np.arange(len(counts)), counts)
    scores = metrics.majority_baseline(np.array([largest]), targets, len(counts))
    return Baseline(largest, numbers["data"]["classes"][largest], scores)
