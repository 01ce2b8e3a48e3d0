"""A run's numbers on clean and leaked test images, as columns of a table and in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dermaexp.core.text import percent
from dermaexp.metrics.baseline import baseline_of
from dermaexp.metrics.leak import TEST_PARTS

ALIKE = 0.01  # difference of two class shares, below which no part counts as harder


def columns(numbers: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return heading -> scores of each part and of the majority baseline on it.

    `numbers` is the content of metrics.json.
    """
    found = {}
    for half, word in TEST_PARTS.items():
        if own := numbers.get(half):
            found[f"{word}, {own['samples']:,} images"] = own
            found[f"majority, {word}"] = baseline_of({**numbers, "test": own}).scores
    return found


def reading(numbers: Mapping[str, Any]) -> str:
    """Say how to read the columns of metrics.json; "" for a run that has none."""
    if "test_leaked" not in numbers:
        return ""
    column = numbers["data"]["groups"]["column"]
    clean, shared = (numbers[half] for half in TEST_PARTS)
    if shared is None:
        return f"No test image has the {column} of an image in train or val."
    if clean is None:
        return f"Every test image has the {column} of an image in train or val."
    compared = "Compare each with its own majority baseline, not the two with each other"
    if "majority_class" not in numbers:  # an image has several labels
        return f"Leaked: an image in train or val has the same {column}. {compared}."
    majority = numbers["majority_class"]
    of_clean, of_shared = (half["class_shares"][majority] for half in (clean, shared))
    if abs(of_clean - of_shared) >= ALIKE:
        compared += (
            f": “{majority}” are {percent(of_shared)} of the leaked images and {percent(of_clean)} "
            f"of the clean ones, so that the leaked ones are the "
            f"{'harder' if of_shared < of_clean else 'easier'} part"
        )
    return f"Leaked: an image in train or val has the same {column}. {compared}."
