"""Picture files with labels as a pool: decoded, without those that could not be."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dermaexp.core.errors import UserError
from dermaexp.data.config import OnError
from dermaexp.data.decoded import Decoded, decode, kept
from dermaexp.data.faults import faults_error, notes_on_skipped
from dermaexp.data.lesion_groups import fingerprint_of
from dermaexp.data.pool import Pool
from dermaexp.data.splits import Grouping, Note


@dataclass(frozen=True, eq=False)
class Known:
    """What a source knows of its pictures before it decodes them; arrays are (N,) or (N, L)."""

    labels: np.ndarray
    own_split: np.ndarray | None = None
    lesion_groups: np.ndarray | None = None
    group_source: tuple[str, str] | None = None  # the file and column of the lesion groups


def picture_pool(
    name: str,
    classes: tuple[str, ...],
    files: Sequence[Path],
    known: Known,
    *,
    root: Path,
    size: int,
    background: str,
    on_error: OnError,
    skipped: Sequence[str] = (),
) -> Pool:
    """Return the pictures at `size` pixels with their labels.

    All files that are no pictures are named at once, relative to `root`: on_error="stop" raises
    UserError, "skip" leaves them out and lists them after those that the source itself `skipped`.
    """
    found = decode(files, (size, size), background)
    bad = {place: f"{_relative(files[place], root)} {why}" for place, why in found.bad.items()}
    found = replace(found, bad=bad)
    return decoded_pool(name, classes, found, known, where=root, on_error=on_error, skipped=skipped)


def decoded_pool(
    name: str,
    classes: tuple[str, ...],
    found: Decoded,
    known: Known,
    *,
    where: Path | str,
    on_error: OnError,
    skipped: Sequence[str] = (),
) -> Pool:
    """Return decoded pictures with their labels, as `picture_pool`; `found.bad` names each."""
    bad = [line for _, line in sorted(found.bad.items())]
    if bad and on_error == "stop":
        raise faults_error({"files that are no pictures": bad}, where)
    good = np.array([k for k in range(len(known.labels)) if k not in found.bad], np.int64)
    if not len(good):
        raise UserError(f"{where} has no picture that can be decoded: {bad[0]}")
    labels = known.labels[good]
    groups = None if known.lesion_groups is None else known.lesion_groups[good]
    grouping = None
    if groups is not None and known.group_source:
        grouping = Grouping(*known.group_source, fingerprint_of({"all": groups}))
    left_out = (*skipped, *bad)
    return Pool(
        name,
        classes,
        kept(found.images, good),
        labels,
        _fingerprint(found.digest, classes, good, labels),
        own_split=None if known.own_split is None else known.own_split[good],
        lesion_groups=groups,
        grouping=grouping,
        skipped=left_out,
        notes=(*notes_on_skipped(left_out), *_notes_on_depth(found.with_16_bits)),
    )


def _relative(file: Path, root: Path) -> str:
    return str(file.relative_to(root) if file.is_relative_to(root) else file)


def _notes_on_depth(count: int) -> list[Note]:
    return [Note(f"{count:,} pictures of 16 bits a channel are scaled to 8 bits")] if count else []


def _fingerprint(
    content: str, classes: tuple[str, ...], good: np.ndarray, labels: np.ndarray
) -> str:
    digest = hashlib.sha256(f"{content} {classes!r}\n".encode())
    digest.update(good.astype("<i8").data)
    digest.update(labels.astype("<i8").data)
    return digest.hexdigest()
