"""Arrays of other conventions as those of MedMNIST, where they have one meaning only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dermaexp.core.errors import UserError, nearest
from dermaexp.data.splits import SPLITS

Arrays = Mapping[str, tuple[np.ndarray, np.ndarray]]
CHUNK = 1024  # images
ALIASES = {  # a split's part in MedMNIST's format -> how others name it
    f"{split}_{part}": (f"{letter}_{split}", f"{letter.upper()}_{split}")
    for split in SPLITS
    for part, letter in (("images", "x"), ("labels", "y"))
}


def key_of(key: str, found: Sequence[str]) -> str | None:
    """Return which of the keys `found` in a file stands for `key` of MedMNIST's format."""
    return next((name for name in (key, *ALIASES[key]) if name in found), None)


def converted_images(arrays: Arrays, origin: str) -> tuple[Arrays, list[str]]:
    """Return the arrays with images uint8, channels last, and what was done to them.

    Images of all splits are converted alike. Images that have no one meaning stay as they are,
    unless their numbers show what to do: then UserError says it.
    """
    said: list[str] = []
    images = {split: arrays[split][0] for split in SPLITS}
    if all(_is_channels_first(own.shape) for own in images.values()):
        images = {split: np.moveaxis(own, 1, -1) for split, own in images.items()}
        said.append("channels moved from first to last")
    if any(own.dtype != np.uint8 for own in images.values()):
        images, scaled = _as_bytes(images, origin)
        said += scaled
    return {split: (images[split], arrays[split][1]) for split in SPLITS}, said


def converted_labels(
    arrays: Arrays, classes: Sequence[str] | None, several: bool, origin: str
) -> tuple[Arrays, tuple[str, ...] | None, list[str]]:
    """Return the arrays with labels as integers, the classes that they name, and what was done.

    Words become numbers in the order of `classes`, else of the alphabet. Indicators (N, K) with
    one 1 a row become labels (N,), unless the task has `several` labels an image.
    """
    labels = {split: arrays[split][1] for split in SPLITS}
    names: tuple[str, ...] | None = None
    said: list[str] = []
    if all(own.dtype.kind in "US" for own in labels.values()):
        words = {split: own.astype(str) for split, own in labels.items()}
        labels, names = _numbered(words, classes, origin)
        said.append(f"text labels numbered in the order {', '.join(names)}")
    elif all(own.dtype.kind in "fb" and _are_whole(own) for own in labels.values()):
        labels = {split: own.astype(np.int64) for split, own in labels.items()}
        said.append("labels made whole numbers")
    if not several and all(map(_is_one_hot, labels.values())):
        labels = {split: own.argmax(axis=1) for split, own in labels.items()}
        said.append("one-hot labels made numbers")
    return {split: (arrays[split][0], labels[split]) for split in SPLITS}, names, said


def _is_channels_first(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and shape[1] in (1, 3) and shape[-1] not in (1, 3)


def _as_bytes(
    images: Mapping[str, np.ndarray], origin: str
) -> tuple[dict[str, np.ndarray], list[str]]:
    kinds = ", ".join(sorted({str(own.dtype) for own in images.values()}))
    if any(own.dtype.kind not in "fiub" or not own.size for own in images.values()):
        return dict(images), []
    low = min(float(own.min()) for own in images.values())
    high = max(float(own.max()) for own in images.values())
    is_float = any(own.dtype.kind == "f" for own in images.values())
    if is_float and low >= 0 and high <= 1:
        said = [f"images of {kinds} from 0 to 1 scaled to 0 to 255"]
        return {split: _scaled(own) for split, own in images.items()}, said
    if low >= 0 and 1 < high <= 255 and all(map(_are_whole, images.values())):
        said = [f"images of {kinds} from 0 to 255 made uint8"]
        return {split: own.astype(np.uint8) for split, own in images.items()}, said
    raise UserError(
        f"{origin}: images are {kinds} from {low:.4g} to {high:.4g}: expected uint8, or numbers "
        "from 0 to 1; store them so, such as images = (255 * (x - x.min()) / (x.max() - "
        "x.min())).astype('uint8') with the same minimum and maximum for all splits"
    )


def _scaled(images: np.ndarray) -> np.ndarray:
    scaled = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), CHUNK):  # float copies of all would fill the memory
        part = slice(start, start + CHUNK)
        scaled[part] = np.rint(images[part].astype(np.float64) * 255)
    return scaled


def _are_whole(values: np.ndarray) -> bool:
    return bool((values == np.rint(values)).all()) if values.dtype.kind == "f" else True


def _is_one_hot(labels: np.ndarray) -> bool:
    if labels.ndim != 2 or labels.shape[1] < 2 or labels.dtype.kind not in "iu":
        return False
    return bool(np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all())


def _numbered(
    labels: Mapping[str, np.ndarray], classes: Sequence[str] | None, origin: str
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    names = tuple(classes or np.unique(labels["train"]).tolist())
    place = {name: number for number, name in enumerate(names)}
    for split, own in labels.items():
        if unknown := sorted(set(own.ravel().tolist()) - place.keys()):
            where = "in dataset.classes" if classes else "in train"
            raise UserError(
                f"{origin}: {split} has the label {unknown[0]}, which is not {where}: "
                f"{nearest(unknown[0], names)}"
            )
    number = np.vectorize(place.__getitem__, otypes=[np.int64])
    return {split: number(own) for split, own in labels.items()}, names
