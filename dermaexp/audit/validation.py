"""How well near-duplicates tell images of one group: precision and recall against known groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from dermaexp.audit.exact_duplicates import Place
from dermaexp.audit.near_duplicates import Pairs
from dermaexp.data.lesion_groups import leaked
from dermaexp.data.splits import Splits

Found = Mapping[tuple[str, str], Pairs]  # of the images of two splits

CHOSEN_ON = (("train", "val"),)
TOLD_ON = (("train", "test"), ("val", "test"))
THRESHOLDS = (0.02, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1, 0.12, 0.15)  # of the margin


def same_group(splits: Splits, between: tuple[str, str], pairs: Pairs) -> np.ndarray:
    """Whether the two images of each pair (P,) are of one group."""
    first, second = (splits.lesion_groups(split) for split in between)
    return first[pairs.first] == second[pairs.second]


def detection(splits: Splits, found: Found) -> list[dict[str, Any]]:
    """A row for each threshold: precision and recall of pairs, and of leaked test images.

    A pair is right if its images are of one group; the pairs that are there are all such pairs
    between two splits. A test image is told as leaked if it is in a pair with train or val.
    """
    return [
        {
            "threshold": threshold,
            "train_val_pairs": _of_pairs(splits, found, CHOSEN_ON, threshold),
            "test_pairs": _of_pairs(splits, found, TOLD_ON, threshold),
            "test_images": _of_images(splits, found, threshold),
        }
        for threshold in THRESHOLDS
    ]


def missed(splits: Splits, found: Found, threshold: float) -> Iterator[tuple[Place, Place]]:
    """The pairs of one group that are not found, by test image."""
    for between in TOLD_ON:
        pairs = found[between].found(threshold)
        known = set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
        members: dict[str, list[int]] = {}
        for index, group in enumerate(splits.lesion_groups(between[0]).tolist()):
            members.setdefault(group, []).append(index)
        for second, group in enumerate(splits.lesion_groups(between[1]).tolist()):
            for first in members.get(group, ()):
                if (first, second) not in known:
                    yield Place(between[0], first), Place(between[1], second)


def flagged(splits: Splits, found: Found, threshold: float) -> np.ndarray:
    """Whether each test image (N,) is in a pair with an image of train or val."""
    is_flagged = np.zeros(len(splits.test), bool)
    for between in TOLD_ON:
        is_flagged[found[between].found(threshold).second] = True
    return is_flagged


def _of_pairs(
    splits: Splits, found: Found, betweens: tuple[tuple[str, str], ...], threshold: float
) -> dict[str, float | None]:
    told = right = there = 0
    for between in betweens:
        pairs = found[between].found(threshold)
        told += len(pairs)
        right += int(same_group(splits, between, pairs).sum())
        first, second = (Counter(splits.lesion_groups(split).tolist()) for split in between)
        there += sum(first[group] * count for group, count in second.items())
    return _scores(told, right, there)


def _of_images(splits: Splits, found: Found, threshold: float) -> dict[str, float | None]:
    told, there = flagged(splits, found, threshold), leaked(splits)
    return _scores(int(told.sum()), int((told & there).sum()), int(there.sum()))


def _scores(told: int, right: int, there: int) -> dict[str, float | None]:
    """Counts, and None for a share of nothing."""
    return {
        "told": told,
        "right": right,
        "there": there,
        "precision": right / told if told else None,
        "recall": right / there if there else None,
    }
