"""All images of a data set together, before they are divided into train, val and test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dermaexp.core.tasks import Task, inferred
from dermaexp.data.mapped import Images, Lazy, Taken, is_mapped
from dermaexp.data.splits import SPLITS, Division, Grouping, Note, Split, Splits


@dataclass(frozen=True, eq=False)
class Pool:
    """What a source returns instead of Splits where it has images to divide.

    `own_split` (N,) names the source's own split of each image; None if it has none.
    `fingerprint` stands for all images and labels: all divisions of one pool share it. Divisions
    of a `mapped` pool leave its images where they are.
    """

    name: str
    classes: tuple[str, ...]
    images: Images
    labels: np.ndarray  # (N,) int64, or indicators (N, L)
    fingerprint: str
    task: Task | None = None  # None: what the labels show
    own_split: np.ndarray | None = None
    lesion_groups: np.ndarray | None = None
    grouping: Grouping | None = None
    synthetic: bool = False
    skipped: tuple[str, ...] = ()  # what was left out because of an error, and why
    notes: tuple[Note, ...] = ()
    mapped: bool = False

    def __len__(self) -> int:
        return len(self.labels)


class Joined(Lazy):
    """The images of several arrays, one after the other, without a copy of all."""

    def __init__(self, arrays: Sequence[Images]) -> None:
        super().__init__((sum(map(len, arrays)), *arrays[0].shape[1:]))
        self.arrays = arrays

    def __getitem__(self, index: Any, /) -> np.ndarray:
        indices = np.asarray(index)
        taken = np.empty((*indices.shape, *self.shape[1:]), np.uint8)
        start = 0
        for array in self.arrays:
            here = (indices >= start) & (indices < start + len(array))
            taken[here] = array[indices[here] - start]
            start += len(array)
        return taken


def pooled(splits: Splits) -> Pool:
    """Return all images of the splits, which remain the pool's own."""
    known = splits.grouping is not None
    return Pool(
        splits.name,
        splits.classes,
        Joined([splits[split].images for split in SPLITS]),
        np.concatenate([splits[split].labels for split in SPLITS]),
        splits.fingerprint,
        task=splits.task,
        own_split=np.repeat(SPLITS, [len(splits[split]) for split in SPLITS]),
        lesion_groups=np.concatenate([splits.lesion_groups(s) for s in SPLITS]) if known else None,
        grouping=splits.grouping,
        synthetic=splits.synthetic,
        notes=splits.notes,
        mapped=any(is_mapped(splits[split].images) for split in SPLITS),
    )


def divided(
    pool: Pool, parts: Mapping[str, np.ndarray], name: str, division: Division | None
) -> Splits:
    """Return the splits whose images are at these indices of the pool; `parts` has all three."""
    splits = {split: _taken(pool, parts[split]) for split in SPLITS}
    return Splits(
        name,
        pool.classes,
        splits["train"],
        splits["val"],
        splits["test"],
        task=pool.task or inferred(pool.labels.ndim == 2, len(pool.classes)),
        synthetic=pool.synthetic,
        grouping=pool.grouping,
        division=division,
        skipped=pool.skipped,
        notes=pool.notes,
    )


def _taken(pool: Pool, indices: np.ndarray) -> Split:
    groups = None if pool.lesion_groups is None else pool.lesion_groups[indices]
    images = Taken(pool.images, indices) if pool.mapped else pool.images[indices]
    return Split(images, pool.labels[indices], groups)
