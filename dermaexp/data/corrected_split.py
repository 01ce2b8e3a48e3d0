"""The source's own split without its leaks, by the rule of DermaMNIST-C.

Abhishek, Jain and Hamarneh, Investigating the Quality of DermaMNIST and Fitzpatrick17k, 2024.
"""

from __future__ import annotations

import numpy as np

from dermaexp.core.errors import UserError
from dermaexp.data.pool import Pool, divided
from dermaexp.data.splits import SPLITS, Correction, Splits


def corrected_split(pool: Pool) -> Splits:
    """Move every image of a lesion that is in more than one split to train.

    The pool needs lesion groups and a split of its own.
    """
    if pool.lesion_groups is None or pool.grouping is None or pool.own_split is None:
        raise ValueError(f"{pool.name} has no lesion groups or no split of its own")
    numbers = np.select([pool.own_split == split for split in SPLITS], range(len(SPLITS)))
    _, groups = np.unique(pool.lesion_groups, return_inverse=True)
    present = np.zeros((groups.max() + 1, len(SPLITS)), bool)
    present[groups, numbers] = True
    moved = (present.sum(axis=1) > 1)[groups] & (numbers > 0)
    numbers[moved] = 0
    parts = {split: np.flatnonzero(numbers == k) for k, split in enumerate(SPLITS)}
    for split, indices in parts.items():
        if not len(indices):
            raise UserError(
                f"dataset.split=corrected leaves {split} of {pool.name} without an image: each of "
                "its lesions is in another split too; give dataset.split=grouped"
            )
    division = Correction(int(moved.sum()), pool.fingerprint)
    return divided(pool, parts, f"{pool.name}, corrected by {pool.grouping.column}", division)
