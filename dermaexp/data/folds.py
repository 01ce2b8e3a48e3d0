"""Folds of all images together that keep every lesion group within one split."""

from __future__ import annotations

import functools
import warnings

import numpy as np

from dermaexp.core.errors import UserError
from dermaexp.data.pool import Pool, divided
from dermaexp.data.random_split import strata
from dermaexp.data.splits import Fold, Splits, class_counts

SEED = 0  # the same folds for every run
VAL_SHARE = 0.1  # of a pool without a val split of its own


def grouped_split(pool: Pool, folds: int, fold: int) -> Splits:
    """Divide the pool: `fold` of `folds` becomes the test split.

    The others become train and val, which keeps about its own size. All splits are stratified by
    label, and a lesion group is in one of them only. Each image is in the test split of exactly one
    fold. The pool needs lesion groups; raises UserError for more folds than lesion groups or
    images.
    """
    if pool.lesion_groups is None or pool.grouping is None:
        raise ValueError(f"{pool.name} has no lesion groups")
    labels = strata(pool.labels)
    _, groups = np.unique(pool.lesion_groups, return_inverse=True)
    counts = class_counts(pool.labels, pool.classes)
    rarest = int(np.where(counts > 0, counts, counts.max()).argmin())
    if folds > groups.max() + 1:
        raise UserError(
            f"dataset.folds={folds}, but the number of lesion groups is {groups.max() + 1}: "
            "expected at most as many folds"
        )
    if folds > counts[rarest]:
        raise UserError(
            f"dataset.folds={folds}, but the number of images of “{pool.classes[rarest]}” is "
            f"{counts[rarest]}: expected at most as many folds"
        )
    is_test = _parts(labels, groups, folds) == fold
    rest = np.flatnonzero(~is_test)
    largest_class = np.unique(labels[rest], return_counts=True)[1].max()
    val_parts = max(2, min(round(len(rest) / _val_size(pool)), largest_class))
    if val_parts > len(np.unique(groups[rest])):
        raise UserError(
            f"fold {fold} of {folds} leaves too few lesion groups for a train and a val split: "
            f"expected {val_parts} or more"
        )
    is_val = _parts(labels[rest], groups[rest], val_parts) == 0
    parts = {"train": rest[~is_val], "val": rest[is_val], "test": np.flatnonzero(is_test)}
    name = f"{pool.name}, grouped by {pool.grouping.column}"
    return divided(pool, parts, name, Fold(folds, fold, pool.fingerprint))


def _val_size(pool: Pool) -> float:
    if pool.own_split is None:
        return VAL_SHARE * len(pool)
    return int(np.count_nonzero(pool.own_split == "val"))


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
