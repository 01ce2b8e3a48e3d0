"""Files in MedMNIST's format: `{train,val,test}_{images,labels}` in one npz."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np

from dermaexp.core.errors import UserError, nearest
from dermaexp.core.files import expanded
from dermaexp.core.tasks import Task
from dermaexp.data import npz_members
from dermaexp.data.array_conversions import converted_images, converted_labels, key_of
from dermaexp.data.mapped import resident_limit
from dermaexp.data.splits import SPLITS, Note, Splits, checked_splits

SYNTHETIC_KEY = "synthetic"  # marks a file of synthetic images: they never pass for real ones
KEYS = tuple(f"{split}_{part}" for split in SPLITS for part in ("images", "labels"))


def load(
    path: str,
    classes: Sequence[str] | str | None = None,
    name: str | None = None,
    max_resident_gb: float | None = None,
) -> Splits:
    """The splits of the file at `path`, its images memory-mapped if they are larger than the limit.

    `classes` are names in the order of the labels, or a MedMNIST flag whose names and task are
    used; without it, classes are called "class 0", … up to the largest training label, and the
    columns of several labels an image "label 0", …. Arrays of other conventions are converted where
    they have one meaning only; a note says so.
    """
    file = expanded(str(path))
    given = None if classes is None else _class_names(classes)
    arrays, said = converted_images(read_arrays(file, max_resident_gb), str(file))
    several = _task(classes) == "multi-label"
    arrays, found, more = converted_labels(arrays, given, several, str(file))
    names = given or found or _numbered_classes(arrays, file)
    synthetic = SYNTHETIC_KEY in _keys(file)
    splits = checked_splits(
        name or file.stem,
        names,
        arrays,
        origin=str(file),
        synthetic=synthetic,
        task=_task(classes),
    )
    notes = (Note(f"{file.name}: {'; '.join((*said, *more))}"),) if said or more else ()
    return replace(splits, medmnist_flag=_medmnist_flag(classes, splits), notes=notes)


def read_arrays(
    file: Path, max_resident_gb: float | None = None
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Split -> (images, labels) as stored in `file`; UserError if it is not such a file.

    Images of more than `max_resident_gb`, or of half the free memory, are mapped if they are uint8:
    others have to be converted.
    """
    if not file.is_file():
        raise UserError(f"{file} is not a file: expected an npz in MedMNIST's format, {KEYS[0]} …")
    try:
        content = np.load(file, allow_pickle=False)
        if isinstance(content, np.ndarray):
            raise UserError(f"{file} is a single array: expected an npz with {', '.join(KEYS)}")
        with content:
            keys = {key: key_of(key, content.files) for key in KEYS}
            if missing := [key for key, found in keys.items() if found is None]:
                raise UserError(
                    f"{file} lacks {', '.join(missing)}: expected {', '.join(KEYS)}, "
                    f"found {', '.join(content.files) or 'nothing'}"
                )
            names = {split: str(keys[f"{split}_images"]) for split in SPLITS}
            images = _mapped_images(file, names, max_resident_gb) or {
                split: content[name] for split, name in names.items()
            }
            return {split: (images[split], content[keys[f"{split}_labels"]]) for split in SPLITS}
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        if "Object arrays" in str(error):
            raise UserError(
                f"{file} has an array of Python objects, which could run code: expected numbers or "
                "text; store it by array.astype(str)"
            ) from error
        raise UserError(
            f"{file} is damaged or not an npz: expected an npz in MedMNIST's format; "
            "download it again"
        ) from error


def _mapped_images(
    file: Path, names: Mapping[str, str], max_resident_gb: float | None
) -> dict[str, np.ndarray] | None:
    """The images of each split mapped, or None where they belong into memory."""
    headers = [npz_members.header_of(file, name) for name in names.values()]
    size = sum(header.nbytes for header in headers)
    if size <= resident_limit(max_resident_gb) or any(h.dtype != np.uint8 for h in headers):
        return None
    return {split: npz_members.mapped(file, name) for split, name in names.items()}


def _keys(file: Path) -> list[str]:
    with np.load(file, allow_pickle=False) as content:
        return content.files


def _numbered_classes(
    arrays: Mapping[str, tuple[np.ndarray, np.ndarray]], file: Path
) -> tuple[str, ...]:
    """Classes by the training labels' numbers; arrays that are no labels are reported later."""
    labels = {split: arrays[split][1] for split in SPLITS}
    if labels["train"].ndim == 2 and labels["train"].shape[1] > 1:
        return tuple(f"label {column}" for column in range(labels["train"].shape[1]))
    found = np.unique(labels["train"])
    names = tuple(f"class {label}" for label in found)
    if any(own.dtype.kind not in "iu" or own[:1].size != 1 for own in labels.values()):
        return names
    cure = "or dataset.classes=[NAME, …] to name classes without a training image too"
    if found.tolist() != list(range(len(found))):
        shown = ", ".join(map(str, found[:8])) + (", …" if len(found) > 8 else "")
        raise UserError(
            f"{file}: the training labels are {shown}: expected 0, 1, 2, … without a gap, {cure}"
        )
    for split, own in labels.items():
        if own.max() >= len(found):
            raise UserError(
                f"{file}: {split} has the label {own.max()}, but the training labels end at "
                f"{len(found) - 1}: expected none above, {cure}"
            )
    return names


def _class_names(classes: Sequence[str] | str) -> tuple[str, ...]:
    if isinstance(classes, Sequence) and not isinstance(classes, str):
        return tuple(str(name) for name in classes)
    from dermaexp.data.medmnist_info import INFO

    if classes not in INFO:
        raise UserError(
            f"dataset.classes={classes}: expected [NAME, …] or a MedMNIST flag; "
            f"{nearest(str(classes), INFO)}"
        )
    return tuple(INFO[classes]["label"].values())


def _task(classes: Sequence[str] | str | None) -> Task | None:
    """The task of the MedMNIST set whose flag is given."""
    if not isinstance(classes, str):
        return None
    from dermaexp.data.medmnist_info import task_of_set

    return task_of_set(classes)


def _medmnist_flag(classes: Sequence[str] | str | None, splits: Splits) -> str | None:
    """The flag in `classes`, if the file has as many images as that set, in one of its sizes.

    Synthetic images, or other images with the classes of a set, are not that set.
    """
    if not isinstance(classes, str) or splits.synthetic:
        return None
    from dermaexp.data.config import MedMNISTSize
    from dermaexp.data.medmnist_info import INFO

    height, width = splits.test.images.shape[1:3]
    samples = {split: len(splits[split]) for split in SPLITS}
    is_size = height == width and height in get_args(MedMNISTSize)
    return classes if is_size and samples == INFO[classes]["n_samples"] else None
