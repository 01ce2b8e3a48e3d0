"""What every source returns: three checked splits of uint8 images with their labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np

from dermaexp.core.errors import UserError
from dermaexp.core.tasks import Task, inferred
from dermaexp.data.mapped import Images, blocks

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Split:
    """Images (N, H, W, C) uint8, C being 1 or 3, and their labels (N,) int64.

    Labels of several an image are indicators (N, L) int64, 1 where the image has the label.
    `lesion_groups` (N,), if known, names the lesion of each image: images of one lesion are not
    independent of each other. Images that are mapped are copied when they are taken: see `mapped`.
    """

    images: Images
    labels: np.ndarray
    lesion_groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Grouping:
    """The source of the lesion groups: file name, column, and SHA-256 of the groups."""

    file: str
    column: str
    fingerprint: str


@dataclass(frozen=True)
class Fold:
    """Which of `folds` parts, from 0, is the test split, and the fingerprint of all parts."""

    kind: ClassVar = "grouped"
    folds: int
    fold: int
    pool_fingerprint: str


@dataclass(frozen=True)
class Shares:
    """The shares of train, val and test in a random division, and the seed of it."""

    kind: ClassVar = "random"
    shares: tuple[float, ...]
    split_seed: int
    pool_fingerprint: str


@dataclass(frozen=True)
class Correction:
    """How many images were moved to train because other splits show their lesion."""

    kind: ClassVar = "corrected"
    moved: int
    pool_fingerprint: str


Division = Fold | Shares | Correction


class Note(NamedTuple):
    """What a user must know about the data; a note with a title goes into a box."""

    text: str
    title: str = ""


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set as sources return it; tables and figures call it by its `name`.

    `classes` name the classes, or the L labels of the task "multi-label".
    `division` is None for the source's own splits. `notes` are printed by the job: sources print
    nothing.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    task: Task = "multi-class"
    synthetic: bool = False
    medmnist_flag: str | None = None  # of the MedMNIST set that these are, in its order
    grouping: Grouping | None = None
    division: Division | None = None
    skipped: tuple[str, ...] = ()  # pictures left out because of an error, and why
    notes: tuple[Note, ...] = ()

    def __getitem__(self, split: str) -> Split:
        return {"train": self.train, "val": self.val, "test": self.test}[split]

    @property
    def title(self) -> str:
        """The name as figures and tables show it: synthetic data never pass for real data."""
        return f"{self.name} (SYNTHETIC DATA)" if self.synthetic else self.name

    def part(self, split: str, used: int) -> str:
        """The split's name, with the number of images if only some of them were used."""
        whole = len(self[split])
        return split if used == whole else f"{split}, {used:,} of {whole:,} images"

    @property
    def record(self) -> dict[str, Any]:
        """What run.json records about the data."""
        kind: dict[str, Any] = {"kind": "official"}
        if self.division:
            kind = {"kind": self.division.kind, **asdict(self.division)}
        return {
            "name": self.title,
            "task": self.task,
            "fingerprint": self.fingerprint,
            "test_fingerprint": self.test_fingerprint,
            "synthetic": self.synthetic,
            "split": kind,
            **({"groups": asdict(self.grouping)} if self.grouping else {}),
            **({"skipped": [*self.skipped]} if self.skipped else {}),
        }

    def lesion_groups(self, split: str) -> np.ndarray:
        """The lesion group (N,) of each image of `split`; ValueError without lesion groups."""
        groups = self[split].lesion_groups
        if groups is None:
            raise ValueError(f"{self.name} has no lesion groups")
        return groups

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of class names, shapes, images and labels."""
        return self._digest(SPLITS)

    @cached_property
    def test_fingerprint(self) -> str:
        """SHA-256 of the test split alone: runs with the same one can be compared on test."""
        return self._digest(("test",))

    def _digest(self, names: Iterable[str]) -> str:
        digest = hashlib.sha256(repr(self.classes).encode())
        for split in names:
            images, labels = self[split].images, self[split].labels
            digest.update(f"{split} {images.shape} ".encode())
            for block in blocks(images):
                digest.update(np.ascontiguousarray(block).data)
            digest.update(np.ascontiguousarray(labels, "<i8").data)
        return digest.hexdigest()


def class_counts(labels: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Return how many images have each class (K,), of labels (N,) or indicators (N, K)."""
    return labels.sum(axis=0) if labels.ndim == 2 else np.bincount(labels, minlength=len(classes))


def checked_splits(
    name: str,
    classes: tuple[str, ...],
    arrays: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    origin: str,
    synthetic: bool = False,
    task: Task | None = None,
) -> Splits:
    """Splits from split -> (images, labels); UserError for what is wrong in `origin`.

    Images are (N, H, W) or (N, H, W, C), labels (N,) or (N, 1), or indicators (N, L) of several
    labels an image. Without a `task`, two classes are "binary" and others "multi-class".
    """
    if len(set(classes)) < len(classes):
        raise UserError(f"{origin}: classes {list(classes)} repeat a name: expected each once")
    splits = {
        split: _checked_split(*arrays[split], len(classes), f"{split} of {origin}")
        for split in SPLITS
    }
    shapes = {split: splits[split].images.shape[1:] for split in SPLITS}
    if len(set(shapes.values())) > 1:
        raise UserError(
            f"{origin}: the splits' images differ in shape, {shapes}: expected one shape"
        )
    several = {split: splits[split].labels.ndim == 2 for split in SPLITS}
    if len(set(several.values())) > 1:
        columns = {split: arrays[split][1].shape for split in SPLITS}
        raise UserError(
            f"{origin}: the splits' labels differ in shape, {columns}: expected one column, or the "
            "same columns in each"
        )
    if (task == "multi-label") != several["train"] or task is None:
        task = inferred(several["train"], len(classes))
    return Splits(
        str(name),
        classes,
        splits["train"],
        splits["val"],
        splits["test"],
        task=task,
        synthetic=synthetic,
    )


def _checked_split(images: np.ndarray, labels: np.ndarray, classes: int, where: str) -> Split:
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or images.dtype != np.uint8:
        raise UserError(
            f"{where}: images are {images.dtype} {images.shape}, "
            "expected uint8 (N, H, W) or (N, H, W, 3)"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"{where}: labels are {labels.dtype}, expected integers")
    several = labels.ndim == 2 and labels.shape[1] > 1
    labels = (labels if several else labels.reshape(-1)).astype(np.int64)
    if len(images) != len(labels):
        raise UserError(f"{where}: {len(images)} images but {len(labels)} labels: expected as many")
    if not len(labels):
        raise UserError(f"{where} is empty: expected at least one image")
    if several:
        _check_indicators(labels, classes, where)
    elif labels.min() < 0 or labels.max() >= classes:
        bad = labels[(labels < 0) | (labels >= classes)][0]
        raise UserError(
            f"{where}: label {bad} is out of range, expected 0 to {classes - 1} ({classes} classes)"
        )
    return Split(images, labels)


def _check_indicators(labels: np.ndarray, classes: int, where: str) -> None:
    if labels.shape[1] != classes:
        raise UserError(
            f"{where}: labels have {labels.shape[1]} columns, but {classes} names are given: "
            "expected a name for each column"
        )
    if not np.isin(labels, (0, 1)).all():
        bad = labels[(labels < 0) | (labels > 1)][0]
        raise UserError(
            f"{where}: labels in several columns hold {bad}: expected 0 or 1 in each, whether the "
            "image has that label"
        )
