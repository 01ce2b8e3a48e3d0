"""How well near-duplicates detect images of one lesion group: precision and recall."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from dermaexp.audit.exact_duplicates import Place
from dermaexp.audit.near_duplicates import Pairs
from dermaexp.data.lesion_groups import leaked
from dermaexp.data.splits import Splits

Found = Mapping[tuple[str, str], Pairs]  # by the names of two splits

CHOSEN_ON = (("train", "val"),)
JUDGED_ON = (("train", "test"), ("val", "test"))
THRESHOLDS = (0.02, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1, 0.12, 0.15)  # of the margin


def same_group(splits: Splits, between: tuple[str, str], pairs: Pairs) -> np.ndarray:
    """Whether the two images of each pair (P,) are of one lesion group."""
    first, second = (splits.lesion_groups(split) for split in between)
    return first[pairs.first] == second[pairs.second]


def detection(splits: Splits, found: Found) -> list[dict[str, Any]]:
    """One row per threshold: precision and recall for pairs and for leaked test images.

    A detected pair is right if its images share a lesion group; recall counts all such pairs
    between two splits. A test image is detected as leaked if it is in a pair with train or val.
    """
    return [
        {
            "threshold": threshold,
            "train_val_pairs": _pair_scores(splits, found, CHOSEN_ON, threshold),
            "test_pairs": _pair_scores(splits, found, JUDGED_ON, threshold),
            "test_images": _image_scores(splits, found, threshold),
        }
        for threshold in THRESHOLDS
    ]


def missed(splits: Splits, found: Found, threshold: float) -> Iterator[tuple[Place, Place]]:
    """The pairs of one lesion group that are not detected, by test image."""
    for between in JUDGED_ON:
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
    for between in JUDGED_ON:
        is_flagged[found[between].found(threshold).second] = True
    return is_flagged


def _pair_scores(
    splits: Splits, found: Found, betweens: tuple[tuple[str, str], ...], threshold: float
) -> dict[str, float | None]:
    detected = right = present = 0
    for between in betweens:
        pairs = found[between].found(threshold)
        detected += len(pairs)
        right += int(same_group(splits, between, pairs).sum())
        first, second = (Counter(splits.lesion_groups(split).tolist()) for split in between)
        present += sum(first[group] * count for group, count in second.items())
    return _scores(detected, right, present)


def _image_scores(splits: Splits, found: Found, threshold: float) -> dict[str, float | None]:
    detected, present = flagged(splits, found, threshold), leaked(splits)
    right = detected & present
    return _scores(int(detected.sum()), int(right.sum()), int(present.sum()))


def _scores(detected: int, right: int, present: int) -> dict[str, float | None]:
    """Counts as audit.json names them, with precision and recall; None if undefined."""
    return {
        "told": detected,
        "right": right,
        "there": present,
        "precision": right / detected if detected else None,
        "recall": right / present if present else None,
    }
