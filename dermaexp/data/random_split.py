"""A random division of images that have no splits of their own: stratified, seeded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dermaexp.core.errors import UserError
from dermaexp.data.pool import Pool, divided
from dermaexp.data.splits import SPLITS, Shares, Splits


def random_split(pool: Pool, shares: Sequence[float], seed: int) -> Splits:
    """Divide the pool by `shares` of train, val and test, within each class.

    Images of one lesion group stay together, where lesion groups are known. Raises UserError for
    a split without an image.
    """
    units = np.arange(len(pool))
    if pool.lesion_groups is not None:
        _, units = np.unique(pool.lesion_groups, return_inverse=True)
    assigned = _assigned(strata(pool.labels), units, shares, seed)
    parts = {split: np.flatnonzero(assigned == k) for k, split in enumerate(SPLITS)}
    for split, indices in parts.items():
        if not len(indices):
            raise UserError(
                f"dataset.split=random leaves {split} of {pool.name} without an image: {len(pool)} "
                f"images are too few for dataset.shares={[*shares]}; give other shares or more data"
            )
    division = Shares(tuple(map(float, shares)), seed, pool.fingerprint)
    return divided(pool, parts, f"{pool.name}, random split {seed}", division)


def strata(labels: np.ndarray) -> np.ndarray:
    """Return the stratum (N,) of each image.

    That is its label (N,); of several labels (N, L) the one that fewest images have, -1 for none.
    """
    if labels.ndim == 1:
        return labels
    frequency = np.where(labels, labels.sum(axis=0), len(labels) + 1)
    return np.where(labels.any(axis=1), frequency.argmin(axis=1), -1)


def _assigned(
    labels: np.ndarray, units: np.ndarray, shares: Sequence[float], seed: int
) -> np.ndarray:
    """The number of the split (N,) of each image; images of one unit (N,) get the same.

    A unit counts to the class that most of its images have. The units of a class stand in random
    order on a line as long as their images; the middle of each says between which cuts it is.
    """
    order = np.random.RandomState(seed).permutation(units.max() + 1)
    sizes = np.bincount(units)
    of_unit = _majority(labels, units)
    split_of = np.empty(len(sizes), np.int64)
    for label in np.unique(of_unit):
        own = order[of_unit[order] == label]
        ends = np.cumsum(sizes[own])
        cuts = np.round(np.cumsum(shares)[:-1] * ends[-1], 6)
        split_of[own] = np.searchsorted(cuts, ends - sizes[own] / 2, side="right")
    return split_of[units]


def _majority(labels: np.ndarray, units: np.ndarray) -> np.ndarray:
    """The most frequent label (U,) of each unit, the smallest of several."""
    values, codes = np.unique(labels, return_inverse=True)
    pairs, counts = np.unique(np.stack([units, codes]), axis=1, return_counts=True)
    best = np.lexsort((-counts, pairs[0]))
    first = np.unique(pairs[0][best], return_index=True)[1]
    return values[pairs[1][best][first]]
