"""Images with the very same pixels, within and across splits."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import combinations
from typing import NamedTuple

from dermaexp.data.mapped import blocks
from dermaexp.data.splits import SPLITS, Splits


class Place(NamedTuple):
    """The split and index of an image."""

    split: str
    index: int  # type: ignore[assignment]  # hides tuple.index, which nothing calls


def exact_duplicates(splits: Splits) -> list[list[Place]]:
    """The places of each picture that occurs more than once, by SHA-256 of its pixels."""
    places: dict[bytes, list[Place]] = {}
    for split in SPLITS:
        images = (image for block in blocks(splits[split].images) for image in block)
        for index, image in enumerate(images):
            places.setdefault(hashlib.sha256(image.tobytes()).digest(), []).append(
                Place(split, index)
            )
    return [same for same in places.values() if len(same) > 1]


def conflicts(splits: Splits, duplicates: list[list[Place]]) -> list[list[Place]]:
    """The exact `duplicates` that are labelled differently."""
    return [
        same
        for same in duplicates
        if len({splits[s].labels[index].tobytes() for s, index in same}) > 1
    ]


def between_splits(duplicates: list[list[Place]]) -> dict[str, int]:
    """Counts pictures repeated within a split or across two: "train", "train, test", …"""
    counts: Counter[str] = Counter()
    for same in duplicates:
        own = Counter(split for split, _ in same)
        counts.update(split for split in SPLITS if own[split] > 1)
        counts.update(
            f"{first}, {second}"
            for first, second in combinations(SPLITS, 2)
            if own[first] and own[second]
        )
    keys = [*SPLITS, *(f"{first}, {second}" for first, second in combinations(SPLITS, 2))]
    return {key: counts[key] for key in keys}
