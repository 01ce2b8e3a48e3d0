"""The majority baseline of a run's test split, and what an accuracy is worth beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
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


def baseline_of(*folds: Mapping[str, Any]) -> Baseline:
    """Made again from metrics.json: the test split's class counts and the majority's accuracy.

    Where several classes have that share of the images it is the first: the scores are the same.
    Of several folds' metrics.json it is the class that has it in all, its scores are the means.
    """
    tests = [numbers["test"] for numbers in folds]
    counts = [np.sum(test["confusion_matrix"], axis=1) for test in tests]
    misses = [
        np.abs(own / own.sum() - test["majority_accuracy"])
        for own, test in zip(counts, tests, strict=True)
    ]
    largest = int(np.sum(misses, axis=0).argmin())
    scores = [
        metrics.majority_baseline(
            np.array([largest]), np.repeat(np.arange(len(own)), own), len(own)
        )
        for own in counts
    ]
    means = {name: fmean(fold[name] for fold in scores) for name in scores[0]}
    return Baseline(largest, folds[0]["data"]["classes"][largest], means)
