"""Shards in WebDataset's format, in object storage or on a disk: read once, decoded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dermaexp.core import rules
from dermaexp.data.config import OnError, ShardsConfig
from dermaexp.data.decoded import Decoded, kept
from dermaexp.data.faults import Rows, good_rows
from dermaexp.data.picture_pool import Known, decoded_pool
from dermaexp.data.pictures import BACKGROUND
from dermaexp.data.pool import Pool
from dermaexp.data.shard_cache import read_once
from dermaexp.data.shard_urls import name_of_shards, shard_urls, splits_of_shards
from dermaexp.data.table_labels import Names, labels_of_cells


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
    found, facts, notes = read_once(urls, (size, size), background, (label_column, group_column))
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
