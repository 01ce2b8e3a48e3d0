"""Shards read once into the cache of pictures, and again when their server says they changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

from dermaexp.core.console import console
from dermaexp.core.errors import UserError
from dermaexp.data import picture_cache
from dermaexp.data.decoded import (
    Decoded,
    Read,
    bad_of,
    decoded_content,
    how_decoded,
    in_order,
    write_pixels,
)
from dermaexp.data.picture_cache import Facts
from dermaexp.data.shard_files import Sample, samples
from dermaexp.data.shard_streams import versions
from dermaexp.data.shard_tries import WAITS
from dermaexp.data.splits import Note

VERSION = 1  # raise it when the same shards give other facts
AHEAD = 32  # pictures in memory, not yet decoded
Columns = tuple[str, str | None]  # the fields of KEY.json for the label and the group


def read_once(
    urls: Sequence[str], size: tuple[int, int], background: str, columns: Columns
) -> tuple[Decoded, Facts, list[Note]]:
    """Return the pictures of all samples, facts about them, and what a user must know.

    The facts are lists of "names", "labels" and "groups", texts as in the cells of a table, and
    the "counts" of samples in each shard. What is in the cache is used if the shards did not
    change since, or cannot be asked. Raises UserError for a shard that cannot be read.
    """
    how = how_decoded(size, background)
    source = [VERSION, urls, columns, how.decode()]
    beginning = f"{_short_digest(source)}-"
    notes = []
    cached_before = picture_cache.newest(beginning, size)
    try:
        asked = versions(urls, () if cached_before else WAITS)
        name = beginning + _short_digest(asked)
    except UserError as error:
        if cached_before is None:
            raise
        name, asked = cached_before, []
        notes.append(Note(f"{error}: the pictures are those that were read from it before"))

    def fill(sink: BinaryIO) -> Facts:
        rows = _rows(urls, asked, size, background, columns)
        return _fill(sink, rows, how, urls, size)

    images, facts = picture_cache.cached(name, size, fill)
    found = Decoded(images, bad_of(facts), facts["with_16_bits"], facts["digest"])
    return found, facts, notes


def _short_digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class _Row:
    """What the cache keeps of a sample; `digest` is that of its picture's content."""

    shard: int
    name: str
    label: str
    group: str
    read: Read
    digest: bytes


def _rows(
    urls: Sequence[str],
    asked: Sequence[Mapping[str, str]],
    size: tuple[int, int],
    background: str,
    columns: Columns,
) -> Iterator[_Row]:
    """All samples in their order, decoded by several threads, with a bar of the bytes."""
    sizes = [int(version["size"]) for version in asked if "size" in version]
    total = sum(sizes) if len(sizes) == len(urls) else None
    bar_columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*bar_columns, console=console, transient=True) as progress:
        bar = progress.add_task(f"reading {len(urls):,} shards", total=total)
        found = (
            (shard, sample)
            for shard, url in enumerate(urls)
            for sample in samples(url, lambda count: progress.advance(bar, count))
        )
        yield from in_order(lambda own: _row(*own, size, background, columns), found, AHEAD)


def _row(
    shard: int, sample: Sample, size: tuple[int, int], background: str, columns: Columns
) -> _Row:
    label, group = sample.texts(*columns)
    if sample.picture is None:
        missing = f"{sample.name} has no picture", False
        return _Row(shard, sample.name, label, group, missing, b"none".ljust(32))
    pixels, is_wide = decoded_content(sample.picture, size, background)
    read = f"{sample.name} {pixels}" if isinstance(pixels, str) else pixels
    digest = hashlib.sha256(sample.picture).digest()
    return _Row(shard, sample.name, label, group, (read, is_wide), digest)


def _fill(
    sink: BinaryIO, rows: Iterator[_Row], how: bytes, urls: Sequence[str], size: tuple[int, int]
) -> Facts:
    """Write the pixels of all samples to the `sink`; return the facts about them."""
    names: list[str] = []
    labels: list[str] = []
    groups: list[str] = []
    counts = [0] * len(urls)
    digest = hashlib.sha256(how)

    def reads() -> Iterator[Read]:
        for row in rows:
            names.append(row.name)
            labels.append(row.label)
            groups.append(row.group)
            counts[row.shard] += 1
            digest.update(row.digest)
            yield row.read

    found = write_pixels(sink, reads(), size)
    known = {"names": names, "labels": labels, "groups": groups, "counts": counts}
    return {**found, **known, "digest": digest.hexdigest()}
