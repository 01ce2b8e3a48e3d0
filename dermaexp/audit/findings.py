"""Audits a dataset: its class balance, duplicates and leaks between splits."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from dermaexp.audit.detection import Found, detection, flagged
from dermaexp.audit.exact_duplicates import Place, between_splits, conflicts, exact_duplicates
from dermaexp.audit.near_duplicates import COPY, Embedding, near_duplicates
from dermaexp.core.console import console
from dermaexp.data.lesion_groups import shares_lesion
from dermaexp.data.mapped import Images, blocks
from dermaexp.data.splits import SPLITS, Splits, class_counts
from dermaexp.metrics.labels import indicators

SCHEMA = 1
THRESHOLD = 0.08  # of the margin: the best F1 on train-val pairs of DermaMNIST (rebuilt)


@dataclass(frozen=True)
class Audit:
    """What was found in `splits`; audit.json holds `facts`."""

    splits: Splits
    duplicates: list[list[Place]]
    conflicts: list[list[Place]]
    found: Found
    facts: dict[str, Any]


def audit(splits: Splits) -> Audit:
    """Looks for duplicates and leaks in `splits`."""
    duplicates = exact_duplicates(splits)
    conflicting = conflicts(splits, duplicates)
    betweens = list(combinations(SPLITS, 2))
    pairs = sum(len(splits[first]) * len(splits[second]) for first, second in betweens)
    console.print(f"comparing {pairs:,} pairs of images of {splits.title}", markup=False)
    with threadpool_limits(1):  # BLAS threads would spin while they wait for each other
        embedding = Embedding(splits.train.images)
        found = {
            (first, second): near_duplicates(embedding, splits[first].images, splits[second].images)
            for first, second in betweens
        }
    facts = {
        "schema": SCHEMA,
        "data": splits.record,
        "image_shape": list(splits.train.images.shape[1:]),
        "images_of_one_color": {split: _of_one_color(splits[split].images) for split in SPLITS},
        "classes": _classes(splits),
        "exact_duplicates": between_splits(duplicates),
        "duplicates": duplicates,
        "conflicts": conflicting,
        "near_duplicates": _near_duplicates(splits, found),
    }
    if splits.grouping:
        facts["leak"] = _leak(splits)
        facts["detection"] = detection(splits, found)
    return Audit(splits, duplicates, conflicting, found, facts)


def _of_one_color(images: Images) -> int:
    """The number of images that show nothing."""
    return sum(
        int((block.min(axis=(1, 2)) == block.max(axis=(1, 2))).all(axis=1).sum())
        for block in blocks(images)
    )


def _classes(splits: Splits) -> dict[str, dict[str, dict[str, float]]]:
    """Maps class and split to the number of images and their share of the split."""
    counts = {split: class_counts(splits[split].labels, splits.classes) for split in SPLITS}
    return {
        name: {
            split: {"images": int(own[label]), "share": float(own[label] / len(splits[split]))}
            for split, own in counts.items()
        }
        for label, name in enumerate(splits.classes)
    }


def _near_duplicates(splits: Splits, found: Found) -> dict[str, Any]:
    """The numbers of pairs between splits, and of test images in them."""
    pairs = {between: pairs.found(THRESHOLD) for between, pairs in found.items()}
    is_flagged = flagged(splits, found, THRESHOLD)
    counts = class_counts(splits.test.labels[is_flagged], splits.classes)
    return {
        "threshold": THRESHOLD,
        "copy_similarity": COPY,
        "pairs": {", ".join(between): len(own) for between, own in pairs.items()},
        "images": {
            ", ".join(between): len(np.unique(own.second)) for between, own in pairs.items()
        },
        "test_images": int(is_flagged.sum()),
        "test_images_of_class": dict(zip(splits.classes, counts.tolist(), strict=True)),
    }


def _leak(splits: Splits) -> dict[str, Any]:
    """Counts test images that share a lesion group with train or val, by class and in all."""
    with_train = shares_lesion(splits, "test", ["train"])
    with_either = shares_lesion(splits, "test", ["train", "val"])

    def counts(chosen: np.ndarray) -> dict[str, int]:
        return {
            "images": int(chosen.sum()),
            "with_train": int((chosen & with_train).sum()),
            "with_train_or_val": int((chosen & with_either).sum()),
        }

    labels = splits.test.labels
    is_class = indicators(labels, len(splits.classes))
    groups = {split: len(np.unique(splits.lesion_groups(split))) for split in SPLITS}
    return {
        "groups": groups,
        "test": counts(np.ones(len(labels), bool)),
        "classes": {name: counts(is_class[:, label]) for label, name in enumerate(splits.classes)},
        "val_with_train": int(shares_lesion(splits, "val", ["train"]).sum()),
    }
