"""Picture files in `DIR/{train,val,test}/<class>/` or `DIR/<class>/`, also deeper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from dermaexp.core import rules
from dermaexp.core.errors import UserError, nearest
from dermaexp.core.files import expanded
from dermaexp.data.config import FolderConfig, OnError
from dermaexp.data.picture_pool import Known, picture_pool
from dermaexp.data.pictures import (
    BACKGROUND,
    KINDS,
    is_passed_over,
    is_picture,
    note_on_others,
    pictures_below,
)
from dermaexp.data.pool import Pool
from dermaexp.data.split_names import SPLIT_NAMES, split_of
from dermaexp.data.splits import SPLITS, Note


def load(
    path: str,
    size: int,
    name: str | None = None,
    background: str = BACKGROUND,
    on_error: OnError = "stop",
) -> Pool:
    """The pictures below `path`; the classes are the folders of `train` in alphabetical order.

    Without folders named as splits, the folders of `path` are the classes, and the pool has no
    splits of its own. A class folder may have folders: all pictures in them are of its class.
    """
    given = {"path": str(path), "size": size, "name": name}
    rules.check(FolderConfig, given | {"background": background, "on_error": on_error}, "dataset")
    root = expanded(str(path)).absolute()
    if not root.is_dir():
        raise UserError(f"{root} is not a folder: expected DIR/train/<class>/* or DIR/<class>/*")
    splits = _split_folders(root)
    first = splits["train"] if splits else root
    classes = tuple(folder.name for folder in _class_folders(first))
    others: Counter[str] = Counter()
    parts = splits or {"": root}
    found = {name: list(_labelled(part, classes, others)) for name, part in parts.items()}
    _check_classes_have_pictures(first, classes, found["train" if splits else ""])
    pairs = [pair for own in found.values() for pair in own]
    known = Known(
        np.array([label for _, label in pairs], np.int64),
        np.repeat([*found], [len(own) for own in found.values()]) if splits else None,
    )
    pool = picture_pool(
        str(name or root.name),
        classes,
        [file for file, _ in pairs],
        known,
        root=root,
        size=size,
        background=background,
        on_error=on_error,
    )
    note = note_on_others(others)
    return replace(pool, notes=(*pool.notes, Note(note))) if note else pool


def _split_folders(root: Path) -> dict[str, Path]:
    """The folders named as splits; all three, or none."""
    folders: dict[str, Path] = {}
    for entry in _folders(root):
        split = split_of(entry.name)
        if split in folders:
            raise UserError(f"{root} has {folders[split].name} and {entry.name}: expected one")
        if split:
            folders[split] = entry
    if missing := [split for split in SPLITS if folders and split not in folders]:
        raise UserError(
            f"{root} has {', '.join(found.name for found in folders.values())} but no "
            f"{' and no '.join(missing)}: expected {', '.join(map(_names, missing))} too, or "
            "DIR/<class>/* without splits"
        )
    return {split: folders[split] for split in SPLITS if folders}


def _names(split: str) -> str:
    return " or ".join(SPLIT_NAMES[split])


def _folders(folder: Path) -> list[Path]:
    entries = (entry for entry in sorted(folder.iterdir()) if not is_passed_over(entry))
    return [entry for entry in entries if entry.is_dir()]


def _class_folders(parent: Path) -> list[Path]:
    folders = _folders(parent)
    if not folders:
        raise UserError(
            f"{parent} has no class folders: expected {parent}/<class>/* with {KINDS} files; for "
            "pictures with a table of labels give dataset=table"
        )
    return folders


def _labelled(
    parent: Path, classes: tuple[str, ...], others: Counter[str]
) -> Iterator[tuple[Path, int]]:
    """Each picture of the class folders of `parent` with its label; counts `others`."""
    count = 0
    for folder in _class_folders(parent):
        if folder.name not in classes:
            raise UserError(f"{folder}: no such class in train; {nearest(folder.name, classes)}")
        for file in pictures_below(folder, others):
            yield file, classes.index(folder.name)
            count += 1
    if stray := next((entry for entry in sorted(parent.iterdir()) if is_picture(entry)), None):
        raise UserError(f"{stray} is in no class folder: expected {parent}/<class>/{stray.name}")
    if not count:
        raise UserError(f"{parent} has no images: expected {parent}/<class>/* with {KINDS} files")


def _check_classes_have_pictures(
    parent: Path, classes: tuple[str, ...], found: list[tuple[Path, int]]
) -> None:
    known = {label for _, label in found}
    for label, name in enumerate(classes):
        if label not in known:
            raise UserError(
                f"{parent / name} has no images: expected {KINDS} files in it, or no such folder"
            )
