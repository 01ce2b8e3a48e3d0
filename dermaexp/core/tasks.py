"""What the labels of an image are, by MedMNIST's kinds of task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Task = Literal["multi-class", "multi-label", "ordinal", "binary"]


def task_of(data: Mapping[str, Any]) -> Task:
    """Return the task that run.json or metrics.json records in its `data`.

    Files from before tasks were recorded have none: their classes count as unordered.
    """
    return data.get("task", "multi-class")


def inferred(several: bool, classes: int) -> Task:
    """Return the task of labels that say nothing else; `several` an image, or one of `classes`."""
    if several:
        return "multi-label"
    return "binary" if classes == 2 else "multi-class"
