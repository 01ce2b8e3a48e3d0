"""The majority baseline of a run's test split, and what an accuracy is worth beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dermaexp import metrics, pages


@dataclass(frozen=True)
class Baseline:
    """Always answering the largest training class, `answer`; `scores` are its test metrics."""

    answer: str
    scores: dict[str, float]

    @property
    def label(self) -> str:
        return f'always "{self.answer}"'

    def beside(self, low: float, high: float, who: str) -> str:
        """In words, where its accuracy stands to the 95 % interval of that of `who`."""
        accuracy = self.scores["accuracy"]
        if accuracy < low:
            place = "below that interval"
        elif accuracy > high:
            place = f"above that interval: {who} does worse"
        else:
            place = f"inside that interval: the accuracy alone does not show that {who} does better"
        return f"Always answering “{self.answer}” scores {pages.percent(accuracy)}, {place}."


def baseline_of(numbers: Mapping[str, Any]) -> Baseline:
    """Made again from metrics.json: the test split's class counts and the majority's accuracy.

    Where several classes have that share of the images it is the first: the scores are the same.
    """
    counts = np.sum(numbers["test"]["confusion_matrix"], axis=1)
    majority = numbers["test"]["majority_accuracy"]
    largest = int(np.abs(counts / counts.sum() - majority).argmin())
    targets = np.repeat(np.arange(len(counts)), counts)
    scores = metrics.majority_baseline(np.array([largest]), targets, len(counts))
    return Baseline(numbers["data"]["classes"][largest], scores)
