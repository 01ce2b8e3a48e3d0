"""Whether data and models have the same classes or labels, and in which order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dermaexp.core.errors import UserError
from dermaexp.core.tasks import task_of
from dermaexp.data.mapped import Images
from dermaexp.data.splits import Splits, class_counts
from dermaexp.runs.metrics_file import Metrics


def matched(
    splits: Splits, split: str, classes: Sequence[str], metrics: Metrics
) -> tuple[Images, np.ndarray, list[str]]:
    """Return the images, their labels as the model counts them, and notes on the classes.

    Raises UserError where images are of a class that the model does not know, or where the model
    of `metrics` predicts several labels an image and the data have one, or none of its labels.
    """
    part = splits[split]
    several = task_of(metrics["data"]) == "multi-label"
    if several != (splits.task == "multi-label"):
        how = ["one label", "several labels"]
        raise UserError(
            f"the model predicts {how[several]} an image, but images of {splits.name} have "
            f"{how[not several]}: give data of its kind"
        )
    present = class_counts(part.labels, splits.classes) > 0
    if several:
        return part.images, *_label_columns(splits, split, classes, present)
    unknown = [
        name
        for name, there in zip(splits.classes, present, strict=True)
        if there and name not in classes
    ]
    if unknown:
        raise UserError(
            f"{split} of {splits.name} has images of classes that the model does not know: "
            f"{', '.join(unknown)}; it knows {', '.join(classes)}; give their names in the order "
            "of the labels, dataset.classes=[NAME, …] or a MedMNIST flag, or leave the images out"
        )
    place = np.array([classes.index(name) if name in classes else -1 for name in splits.classes])
    notes = [text for text, title in splits.notes if not title]
    with_images = {name for name, there in zip(splits.classes, present, strict=True) if there}
    if missing := [name for name in classes if name not in with_images]:
        notes.append(f"{split} of {splits.name} has no image of {', '.join(missing)}")
    return part.images, place[part.labels], notes


def _label_columns(
    splits: Splits, split: str, classes: Sequence[str], present: np.ndarray
) -> tuple[np.ndarray, list[str]]:
    """The model's labels as indicators (N, L), and notes; what else images have is left out."""
    if lacking := [name for name in classes if name not in splits.classes]:
        raise UserError(
            f"{splits.name} does not say which images have {', '.join(lacking)}: expected a column "
            f"for each label of the model, {', '.join(classes)}"
        )
    notes = [text for text, title in splits.notes if not title]
    if others := [name for name in splits.classes if name not in classes]:
        notes.append(f"the model does not know the labels {', '.join(others)}: they are left out")
    places = [splits.classes.index(name) for name in classes]
    if missing := [splits.classes[place] for place in places if not present[place]]:
        notes.append(f"{split} of {splits.name} has no image of {', '.join(missing)}")
    return splits[split].labels[:, places], notes


def common_classes(own: Sequence[Metrics]) -> tuple[str, ...]:
    """The classes of all runs, in the order of the first."""
    first = own[0]["data"]["classes"]
    for other in own:
        if set(other["data"]["classes"]) != set(first):
            raise UserError(
                f"the runs have different classes ({', '.join(first)} | "
                f"{', '.join(other['data']['classes'])}): an ensemble needs the same"
            )
    return tuple(first)
