"""Shards read once into the cache of pictures, and again when their server says they changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import BinaryIO

from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

from dermaexp.core.console import progress_bar
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
from dermaexp.data.picture_parts import Facts, finished
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
        def shards(start: int) -> Iterator[Facts]:
            return _shards(sink, urls[start:], asked[start:], size, background, columns)

        picture = 3 * size[0] * size[1]
        return _merged(finished(sink, picture, asked or [{}] * len(urls), shards), how)

    images, facts = picture_cache.cached(name, size, fill, f"{beginning}part")
    found = Decoded(images, bad_of(facts), facts["with_16_bits"], facts["digest"])
    return found, facts, notes


def _short_digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class _Row:
    """What the cache keeps of a sample; `digest` is that of its picture's content."""

    name: str
    label: str
    group: str
    read: Read
    digest: str


def _shards(
    sink: BinaryIO,
    urls: Sequence[str],
    asked: Sequence[Mapping[str, str]],
    size: tuple[int, int],
    background: str,
    columns: Columns,
) -> Iterator[Facts]:
    """Write the pixels of one shard after the other, with a bar of the bytes; yield its facts."""
    sizes = [int(version["size"]) for version in asked if "size" in version]
    total = sum(sizes) if len(sizes) == len(urls) else None
    bar_columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
    with progress_bar(*bar_columns) as progress:
        bar = progress.add_task(f"reading {len(urls):,} shards", total=total)
        for url in urls:
            found = samples(url, lambda count: progress.advance(bar, count))
            rows = in_order(lambda sample: _row(sample, size, background, columns), found, AHEAD)
            yield _shard(sink, rows, size)


def _row(sample: Sample, size: tuple[int, int], background: str, columns: Columns) -> _Row:
    label, group = sample.texts(*columns)
    if sample.picture is None:
        missing = f"{sample.name} has no picture", False
        return _Row(sample.name, label, group, missing, b"none".ljust(32).hex())
    pixels, is_wide = decoded_content(sample.picture, size, background)
    read = f"{sample.name} {pixels}" if isinstance(pixels, str) else pixels
    digest = hashlib.sha256(sample.picture).hexdigest()
    return _Row(sample.name, label, group, (read, is_wide), digest)


def _shard(sink: BinaryIO, rows: Iterator[_Row], size: tuple[int, int]) -> Facts:
    """Write the pixels of all samples to the `sink`; return the facts about them."""
    known: Facts = {"names": [], "labels": [], "groups": [], "digests": []}

    def reads() -> Iterator[Read]:
        for row in rows:
            known["names"].append(row.name)
            known["labels"].append(row.label)
            known["groups"].append(row.group)
            known["digests"].append(row.digest)
            yield row.read

    return {**write_pixels(sink, reads(), size), **known}


def _merged(shards: Sequence[Facts], how: bytes) -> Facts:
    """The facts of all shards as those of one set."""
    counts = [len(shard["names"]) for shard in shards]
    bad = {
        str(start + place): reason
        for start, shard in zip(accumulate(counts, initial=0), shards, strict=False)
        for place, reason in bad_of(shard).items()
    }
    all_of = {
        key: [item for shard in shards for item in shard[key]]
        for key in ("names", "labels", "groups", "digests")
    }
    digest = hashlib.sha256(how + bytes.fromhex("".join(all_of.pop("digests"))))
    wide = sum(shard["with_16_bits"] for shard in shards)
    found = {"bad": bad, "with_16_bits": wide, **all_of}
    return {**found, "counts": counts, "digest": digest.hexdigest()}
