"""Folds of all images together that keep every lesion group within one split."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from dermaexp.core.errors import UserError
from dermaexp.data.splits import SPLITS, Fold, Note, Split, Splits

FOLDS = 5  # of a dataset whose config gives no number
SEED = 0  # the same folds for every run


def resplit(splits: Splits, folds: int, fold: int) -> Splits:
    """Redistributes the images of all splits: `fold` of `folds` becomes the test split.

    The others become train and val, which keeps about its size. All splits are stratified by label,
    and a lesion group is in one of them only. Each image is in the test split of exactly one fold.
    The splits need lesion groups; raises UserError for more folds than lesion groups or images.
    """
    if splits.grouping is None:
        raise ValueError(f"{splits.name} has no lesion groups")
    labels = np.concatenate([splits[split].labels for split in SPLITS])
    names = np.concatenate([splits.lesion_groups(split) for split in SPLITS])
    _, groups = np.unique(names, return_inverse=True)
    counts = np.bincount(labels, minlength=len(splits.classes))
    rarest = int(np.where(counts > 0, counts, counts.max()).argmin())
    if folds > groups.max() + 1:
        raise UserError(
            f"dataset.folds={folds}, but the number of lesion groups is {groups.max() + 1}: "
            "expected at most as many folds"
        )
    if folds > counts[rarest]:
        raise UserError(
            f"dataset.folds={folds}, but the number of images of “{splits.classes[rarest]}” is "
            f"{counts[rarest]}: expected at most as many folds"
        )
    is_test = _parts(labels, groups, folds) == fold
    rest = np.flatnonzero(~is_test)
    largest_class = np.bincount(labels[rest]).max()
    val_parts = max(2, min(round(len(rest) / len(splits.val)), largest_class))
    if val_parts > len(np.unique(groups[rest])):
        raise UserError(
            f"fold {fold} of {folds} leaves too few lesion groups for a train and a val split: "
            f"expected {val_parts} or more"
        )
    is_val = _parts(labels[rest], groups[rest], val_parts) == 0
    chosen = {"train": rest[~is_val], "val": rest[is_val], "test": np.flatnonzero(is_test)}
    parts = {split: _taken(splits, indices) for split, indices in chosen.items()}
    return replace(
        splits,
        train=parts["train"],
        val=parts["val"],
        test=parts["test"],
        name=f"{splits.name}, grouped by {splits.grouping.column}",
        fold=Fold(folds, fold, splits.fingerprint),
        medmnist_flag=None,
        notes=(*splits.notes, *_missing_classes(splits.classes, counts, parts)),
    )


def _parts(labels: np.ndarray, groups: np.ndarray, parts: int) -> np.ndarray:
    """The part (N,) of each image: `parts` stratified ones without a common lesion group."""
    return _parts_of(tuple(labels.tolist()), tuple(groups.tolist()), parts)


@functools.lru_cache(maxsize=64)  # seconds for 10,000 images; the jobs of a sweep share folds
def _parts_of(labels: tuple[int, ...], groups: tuple[int, ...], parts: int) -> np.ndarray:
    from sklearn.model_selection import StratifiedGroupKFold

    # Shuffled here, by a generator that never changes: before scikit-learn 1.8 shuffle=True gave
    # parts that are not stratified.
    shuffled = np.random.RandomState(SEED).permutation(max(groups) + 1)[list(groups)]
    numbers = np.empty(len(labels), np.int64)
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # noted by us
        folds = StratifiedGroupKFold(parts).split(numbers, labels, shuffled)
        for number, (_, indices) in enumerate(folds):
            numbers[indices] = number
    return numbers


def _taken(splits: Splits, indices: np.ndarray) -> Split:
    """The images at these `indices` of all splits, one after the other, copied once."""
    first = splits.train
    images = np.empty((len(indices), *first.images.shape[1:]), np.uint8)
    labels = np.empty(len(indices), np.int64)
    groups = np.empty(len(indices), object)
    start = 0
    for name in SPLITS:
        split = splits[name]
        here = (indices >= start) & (indices < start + len(split))
        own = indices[here] - start
        images[here], labels[here], groups[here] = (
            split.images[own],
            split.labels[own],
            splits.lesion_groups(name)[own],
        )
        start += len(split)
    return Split(images, labels, groups.astype(str))


def _missing_classes(
    classes: tuple[str, ...], counts: np.ndarray, parts: dict[str, Split]
) -> Iterator[Note]:
    for name, split in parts.items():
        own = np.bincount(split.labels, minlength=len(classes))
        for label in np.flatnonzero((own == 0) & (counts > 0)):
            reason = "the class has too few lesion groups"
            yield Note(f"{name} of this fold has no “{classes[label]}”: {reason}")
