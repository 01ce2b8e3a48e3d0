"""How the images of a source become train, val and test: the keys of `dataset` that say so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from dermaexp.core.errors import UserError
from dermaexp.data.corrected_split import corrected_split
from dermaexp.data.folds import grouped_split
from dermaexp.data.how import How
from dermaexp.data.pool import Pool, divided, pooled
from dermaexp.data.random_split import random_split
from dermaexp.data.splits import SPLITS, Note, Splits, class_counts


def split_up(source: Splits | Pool, how: How) -> Splits:
    """Return the splits of the source that `how` asks for.

    Raises UserError where the source lacks what they need.
    """
    if isinstance(source, Splits):
        if how.split in (None, "official"):
            return source
        source = pooled(source)
    if how.split == "random" or (how.split is None and source.own_split is None):
        splits = random_split(source, how.shares, how.split_seed)
        return splits if how.split else replace(splits, notes=(*splits.notes, _default_note(how)))
    if how.split is None and (given := how.only_for_random()):
        raise UserError(
            f"dataset.{given}, but {source.name} has splits of its own: give dataset.split=random "
            "too"
        )
    if how.split in ("grouped", "corrected") and source.lesion_groups is None:
        raise UserError(
            f"dataset.split={how.split} needs to know which images belong together: "
            f"{source.name} has no lesion groups"
        )
    if how.split == "grouped":
        return grouped_split(source, how.folds, how.fold)
    if source.own_split is None:
        raise UserError(
            f"dataset.split={how.split} needs splits in the data, and {source.name} has none: "
            "expected random, or grouped where lesion groups are known"
        )
    if how.split == "corrected":
        return corrected_split(source)
    parts = {split: np.flatnonzero(source.own_split == split) for split in SPLITS}
    if empty := [split for split, indices in parts.items() if not len(indices)]:
        raise UserError(
            f"{' and '.join(empty)} of {source.name} without an image: expected images in "
            f"{', '.join(SPLITS)}; or give dataset.split=random"
        )
    return divided(source, parts, source.name, None)


def _default_note(how: How) -> Note:
    train, val, test = (f"{share:.0%}" for share in how.shares)
    return Note(
        f"the data have no splits: {train} train, {val} val and {test} test at random, the same "
        f"for every run with dataset.split_seed={how.split_seed}"
    )


def missing_classes(splits: Splits) -> Iterator[Note]:
    """Yield a note that names the classes that one split lacks and another has, if there are."""
    counts = {split: class_counts(splits[split].labels, splits.classes) for split in SPLITS}
    known = sum(counts.values()) > 0
    lacking = {split: np.flatnonzero((own == 0) & known) for split, own in counts.items()}
    said = [
        f"{split} has no {', '.join(f'“{splits.classes[label]}”' for label in labels)}"
        for split, labels in lacking.items()
        if len(labels)
    ]
    if said:
        yield Note(
            f"{'; '.join(said)}: balanced accuracy, macro AUROC and other means over classes "
            "leave out a class where it has no images"
        )
