"""Shards in WebDataset's format, in object storage or on a disk: read once, decoded once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import BinaryIO

import numpy as np
from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

from dermaexp.core import rules
from dermaexp.core.console import console
from dermaexp.core.errors import UserError
from dermaexp.data import picture_cache
from dermaexp.data.config import OnError, ShardsConfig
from dermaexp.data.decoded import (
    Decoded,
    Read,
    bad_of,
    decoded_content,
    how_decoded,
    in_order,
    kept,
    write_pixels,
)
from dermaexp.data.faults import Rows, good_rows
from dermaexp.data.picture_cache import Facts
from dermaexp.data.picture_pool import Known, decoded_pool
from dermaexp.data.pictures import BACKGROUND
from dermaexp.data.pool import Pool
from dermaexp.data.shard_files import Sample, samples, versions
from dermaexp.data.shard_urls import name_of_shards, shard_urls, shown, splits_of_shards
from dermaexp.data.splits import Note
from dermaexp.data.table_labels import Names, labels_of_cells

VERSION = 1  # raise it when the same shards give other facts
AHEAD = 32  # pictures in memory, not yet decoded
Columns = tuple[str, str | None]  # the fields of KEY.json for the label and the group


def load(
    url: str | Sequence[str],
    size: int,
    label_column: str = "label",
    group_column: str | None = None,
    classes: Names = None,
    name: str | None = None,
    background: str = BACKGROUND,
    on_error: OnError = "stop",
) -> Pool:
    """The pictures of the samples KEY.jpg, KEY.cls and KEY.json in the shards, in their order.

    A label is the text in KEY.cls, or the field `label_column` of KEY.json. Pixels, labels and
    groups are kept in the user's cache folder: the shards are read again where their server says
    that they changed. Samples with a fault are named all at once, as those of a table are.
    """
    given = {"url": url if isinstance(url, str) else [*url], "size": size, "classes": classes}
    given |= {"label_column": label_column, "group_column": group_column, "name": name}
    rules.check(ShardsConfig, given | {"background": background, "on_error": on_error}, "dataset")
    urls = shard_urls(url)
    called = str(name or name_of_shards(urls))
    splits = splits_of_shards(urls)
    found, facts, notes = _read_once(urls, (size, size), background, (label_column, group_column))
    labels = labels_of_cells(facts["labels"], classes, called)
    own = None if splits is None else np.repeat(splits, facts["counts"])
    groups = np.array(facts["groups"]) if group_column else None
    good, skipped = good_rows(Rows(facts["names"], None, labels, own, groups), called, on_error)
    pool = decoded_pool(
        called,
        labels.classes,
        _only(found, good),
        Known(
            labels.values[good],
            None if own is None else own[good],
            None if groups is None else groups[good],
            (called, group_column) if group_column else None,
        ),
        where=called,
        on_error=on_error,
        skipped=skipped,
    )
    return replace(pool, notes=(*notes, *pool.notes))


def _only(found: Decoded, good: np.ndarray) -> Decoded:
    """What was decoded at the places `good` alone."""
    bad = {new: found.bad[old] for new, old in enumerate(good.tolist()) if old in found.bad}
    return replace(found, images=kept(found.images, good), bad=bad)


def _read_once(
    urls: Sequence[str], size: tuple[int, int], background: str, columns: Columns
) -> tuple[Decoded, Facts, list[Note]]:
    """The pictures, their names, labels and groups, and what to say of them; from the cache if the
    shards did not change, or cannot be asked.
    """
    source = [VERSION, urls, columns, how_decoded(size, background).decode()]
    beginning = f"{_short_digest(source)}-"
    notes = []
    try:
        asked = versions(urls)
        name = beginning + _short_digest(asked)
    except UserError as error:
        cached_before = picture_cache.newest(beginning, size)
        if cached_before is None:
            raise
        name, asked = cached_before, []
        notes.append(Note(f"{error}: the pictures are those that were read from it before"))

    def fill(sink: BinaryIO) -> Facts:
        return _fill(sink, urls, asked, size, background, columns)

    images, facts = picture_cache.cached(name, size, fill)
    found = Decoded(images, bad_of(facts), facts["with_16_bits"], facts["digest"])
    return found, facts, notes


def _short_digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def _fill(
    sink: BinaryIO,
    urls: Sequence[str],
    asked: Sequence[Mapping[str, str]],
    size: tuple[int, int],
    background: str,
    columns: Columns,
) -> Facts:
    """Write the pixels of all samples to the `sink`; return names, labels, groups and faults."""
    names: list[str] = []
    labels: list[str] = []
    groups: list[str] = []
    counts = [0] * len(urls)
    digest = hashlib.sha256(how_decoded(size, background))

    def decode(item: tuple[int, Sample]) -> tuple[int, Sample, Read, bytes]:
        """The item without its picture, what was decoded, and the digest of the picture."""
        shard, sample = item
        content = sample.picture
        if content is None:
            return shard, sample, (f"{sample.name} has no picture", False), b"none".ljust(32)
        pixels, wide = decoded_content(content, size, background)
        sample.picture = None
        named = f"{sample.name} {pixels}" if isinstance(pixels, str) else pixels
        return shard, sample, (named, wide), hashlib.sha256(content).digest()

    def reads(progress: Progress) -> Iterator[Read]:
        sizes = [int(version["size"]) for version in asked if "size" in version]
        total = sum(sizes) if len(sizes) == len(urls) else None
        bar = progress.add_task(f"reading {len(urls):,} shards", total=total)
        items = (
            (shard, sample)
            for shard, url in enumerate(urls)
            for sample in samples(url, lambda count: progress.advance(bar, count))
        )
        for shard, sample, read, content in in_order(decode, items, AHEAD):
            counts[shard] += 1
            names.append(sample.name)
            label, group = sample.texts(*columns)
            labels.append(label)
            groups.append(group)
            digest.update(content)
            yield read

    bar_columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*bar_columns, console=console, transient=True) as progress:
        found = write_pixels(sink, reads(progress), size)
    if not names:
        raise UserError(
            f"{', '.join(map(shown, urls[:1]))} has no samples: expected members KEY.jpg with "
            "KEY.cls or KEY.json"
        )
    known = {"names": names, "labels": labels, "groups": groups, "counts": counts}
    return {**found, **known, "digest": digest.hexdigest()}
