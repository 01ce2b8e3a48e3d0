"""The majority baseline of a run's test split, and what an accuracy is worth beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from dermaexp.core.text import percent
from dermaexp.metrics import classification
from dermaexp.metrics.significance import LEVEL, mcnemar_exact_of_counts, p_text


@dataclass(frozen=True)
class Baseline:
    """Always answering the largest training class; `scores` are its test metrics.

    `answers` are the class of each fold, by index and by name, or the one of the official split.
    """

    answers: tuple[tuple[int, str], ...]
    scores: dict[str, float]

    @property
    def label_index(self) -> int:
        """The class of one run, or of the first fold."""
        return self.answers[0][0]

    @property
    def answer(self) -> str:
        """The same by name."""
        return self.answers[0][1]

    @property
    def names(self) -> str:
        """Such as “b”, or “b” or “c” where the folds' training images differ in it."""
        return " or ".join(f"“{name}”" for name in dict.fromkeys(name for _, name in self.answers))

    @property
    def label(self) -> str:
        return f"always {self.names}".replace("“", '"').replace("”", '"')

    def beside(self, accuracy: float, p: float, who: str) -> str:
        """In words, what `accuracy` of `who` is worth; `p` is that of no difference, or NaN."""
        own = self.scores["accuracy"]
        told = f"Always answering {self.names} scores {percent(own)} on the same images"
        if len(set(self.answers)) > 1:
            told = told.replace(" scores", ", the largest training class of each fold, scores")
        if p != p:
            return f"{told}."
        if p >= LEVEL:
            return f"{told}: no difference in accuracy is shown ({p_text(p)})."
        return f"{told}: {who} does {'better' if accuracy > own else 'worse'} ({p_text(p)})."

    def p_of_one_run(self, *confusions: np.ndarray) -> float:
        """McNemar's exact p that a run with these test counts (K, K), a fold each, is as good."""
        alone, missed = 0, 0  # right where the other is wrong
        for (answer, _), confusion in zip(self.answers, confusions, strict=True):
            both = confusion[answer, answer]
            alone += np.trace(confusion) - both
            missed += confusion[answer].sum() - both
        return mcnemar_exact_of_counts(int(alone), int(missed))


def baseline_of(*folds: Mapping[str, Any]) -> Baseline:
    """The baseline of a run's metrics.json, or of one of each fold: its scores are the means."""
    older = [numbers for numbers in folds if "majority_class" not in numbers]
    guess = _guessed(older) if older else None
    answers, scores = [], []
    for numbers in folds:
        classes = numbers["data"]["classes"]
        answer = (
            guess if "majority_class" not in numbers else classes.index(numbers["majority_class"])
        )
        answers.append((answer, classes[answer]))
        counts = np.sum(numbers["test"]["confusion_matrix"], axis=1)
        scores.append(classification.constant_answer(counts, answer))
    means = {name: fmean(fold[name] for fold in scores) for name in scores[0]}
    return Baseline(tuple(answers), means)


def _guessed(folds: Sequence[Mapping[str, Any]]) -> int:
    """Train's largest class where metrics.json has only its share of each split.

    That is the class with this share in all of them; of several, the first.
    """
    misses = []
    for numbers in folds:
        for split in ("val", "test"):
            if split in numbers:
                counts = np.sum(numbers[split]["confusion_matrix"], axis=1)
                misses.append(np.abs(counts / counts.sum() - numbers[split]["majority_accuracy"]))
    return int(np.sum(misses, axis=0).argmin())
