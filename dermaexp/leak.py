"""A run's test images that show what train or val shows too, measured apart from the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dermaexp import metrics
from dermaexp.baseline import baseline_of
from dermaexp.console import HEADLINES, console, print_summary
from dermaexp.data.groups import leaked
from dermaexp.data.splits import Splits
from dermaexp.pages import percent

HALVES = {"test_clean": "clean", "test_leaked": "leaked"}
ALIKE = 0.01  # difference of two class shares that makes neither part harder


def evaluate(
    probabilities: np.ndarray,
    targets: np.ndarray,
    splits: Splits,
    used: np.ndarray | None = None,
) -> dict[str, Any]:
    """Numbers of "test_clean" and "test_leaked" as they stand in metrics.json, None for no image.

    Of the test images with the indices `used`, None for all. Nothing without groups, or with folds,
    which have no leak.
    """
    if splits.grouping is None or splits.fold is not None:
        return {}
    is_leaked = leaked(splits)
    if used is not None:
        is_leaked = is_leaked[used]
    return {
        half: _numbers(probabilities[chosen], targets[chosen], splits) if chosen.any() else None
        for half, chosen in zip(HALVES, (~is_leaked, is_leaked), strict=True)
    }


def _numbers(probabilities: np.ndarray, targets: np.ndarray, splits: Splits) -> dict[str, Any]:
    shares = np.bincount(targets, minlength=len(splits.classes)) / len(targets)
    numbers = metrics.evaluate(probabilities, targets, splits.train.labels, splits.classes)
    class_shares = dict(zip(splits.classes, shares.tolist(), strict=True))
    return {"samples": len(targets), "class_shares": class_shares, **numbers}


def columns(numbers: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Heading -> scores of each part and of the majority baseline on it, from metrics.json."""
    found = {}
    for half, word in HALVES.items():
        if own := numbers.get(half):
            found[f"{word}, {own['samples']:,} images"] = own
            found[f"majority, {word}"] = baseline_of({**numbers, "test": own}).scores
    return found


def reading(numbers: Mapping[str, Any]) -> str:
    """How to read them, from metrics.json; nothing for a run that has no such numbers."""
    if "test_leaked" not in numbers:
        return ""
    column = numbers["data"]["groups"]["column"]
    clean, shared = (numbers[half] for half in HALVES)
    if shared is None:
        return f"No test image has the {column} of an image in train or val."
    if clean is None:
        return f"Every test image has the {column} of an image in train or val."
    majority = baseline_of(numbers).answer
    of_clean, of_shared = (half["class_shares"][majority] for half in (clean, shared))
    compared = "Compare each with its own majority baseline, not the two with each other"
    if abs(of_clean - of_shared) >= ALIKE:
        compared += (
            f": “{majority}” are {percent(of_shared)} of the leaked images and {percent(of_clean)} "
            f"of the clean ones, so that the leaked ones are the "
            f"{'harder' if of_shared < of_clean else 'easier'} part"
        )
    return f"Leaked: an image in train or val has the same {column}. {compared}."


def show(name: str, data: str, numbers: Mapping[str, Any]) -> None:
    """Print the table of both parts, or that there is one part only, if the run has them."""
    if text := reading(numbers):
        if all(numbers[half] for half in HALVES):
            print_summary(name, f"{data}, test in two parts", columns(numbers), HEADLINES, text)
        else:
            console.print(text, soft_wrap=True, markup=False)
