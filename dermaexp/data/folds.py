"""Folds of all images together, in which no group, such as a lesion, is in two splits."""

from __future__ import annotations

import functools
import warnings
from dataclasses import replace

import numpy as np

from dermaexp.core.console import console
from dermaexp.core.errors import UserError
from dermaexp.data.splits import SPLITS, Fold, Split, Splits

FOLDS = 5  # of a dataset whose config does not say

SEED = 0  # of the folds: those of every run are the same


def resplit(splits: Splits, folds: int, fold: int) -> Splits:
    """The images of all splits shared out anew: `fold` of `folds` is the test split.

    The others are val, of about the size that it had, and train. All are stratified by label, and
    a group is in one of them only. Each image is in the test split of exactly one fold. The splits
    need groups; raises UserError where there are too few groups or images for so many folds.
    """
    labels = np.concatenate([splits[split].labels for split in SPLITS])
    names = np.concatenate([splits[split].groups for split in SPLITS])
    _, groups = np.unique(names, return_inverse=True)
    counts = np.bincount(labels, minlength=len(splits.classes))
    rarest = int(np.where(counts > 0, counts, counts.max()).argmin())
    if folds > groups.max() + 1:
        raise UserError(
            f"dataset.folds={folds}, but the number of groups is {groups.max() + 1}: "
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
            f"fold {fold} of {folds} leaves too few groups for a train and a val split: expected "
            f"{val_parts} or more"
        )
    is_val = _parts(labels[rest], groups[rest], val_parts) == 0
    chosen = {"train": rest[~is_val], "val": rest[is_val], "test": np.flatnonzero(is_test)}
    parts = {split: _taken(splits, indices) for split, indices in chosen.items()}
    _tell_missing_classes(splits.classes, counts, parts)
    return replace(
        splits,
        **parts,
        name=f"{splits.name}, grouped by {splits.grouping.column}",
        fold=Fold(folds, fold, splits.fingerprint),
        medmnist_flag=None,
    )


def _parts(labels: np.ndarray, groups: np.ndarray, parts: int) -> np.ndarray:
    """The part (N,) of each image, of `parts` stratified ones without a group in common."""
    return _parts_of(tuple(labels.tolist()), tuple(groups.tolist()), parts)


@functools.lru_cache(maxsize=64)  # seconds for 10,000 images; the jobs of a sweep share folds
def _parts_of(labels: tuple[int, ...], groups: tuple[int, ...], parts: int) -> np.ndarray:
    from sklearn.model_selection import StratifiedGroupKFold

    # Shuffled here, by a generator that never changes: before scikit-learn 1.8 shuffle=True gave
    # parts that are not stratified.
    shuffled = np.random.RandomState(SEED).permutation(max(groups) + 1)[list(groups)]
    numbers = np.empty(len(labels), np.int64)
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # told by ourselves
        folds = StratifiedGroupKFold(parts).split(numbers, labels, shuffled)
        for number, (_, indices) in enumerate(folds):
            numbers[indices] = number
    return numbers


def _taken(splits: Splits, indices: np.ndarray) -> Split:
    """The images at these places of all splits, one after the other; they are copied once."""
    first = splits.train
    images = np.empty((len(indices), *first.images.shape[1:]), np.uint8)
    labels = np.empty(len(indices), np.int64)
    groups = np.empty(len(indices), object)
    start = 0
    for split in (splits[name] for name in SPLITS):
        here = (indices >= start) & (indices < start + len(split))
        own = indices[here] - start
        images[here], labels[here], groups[here] = (
            split.images[own],
            split.labels[own],
            split.groups[own],
        )
        start += len(split)
    return Split(images, labels, groups.astype(str))


def _tell_missing_classes(
    classes: tuple[str, ...], counts: np.ndarray, parts: dict[str, Split]
) -> None:
    for name, split in parts.items():
        own = np.bincount(split.labels, minlength=len(classes))
        for label in np.flatnonzero((own == 0) & (counts > 0)):
            console.print(
                f"{name} of this fold has no “{classes[label]}”: the class has too few groups",
                soft_wrap=True,
                markup=False,
            )
