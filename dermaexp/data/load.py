"""From a `conf/dataset` config to splits; without torch, so that a bad file is told at once."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from hydra.utils import get_method, instantiate
from omegaconf import DictConfig, OmegaConf

from dermaexp.core.errors import UserError
from dermaexp.data.folds import FOLDS, resplit
from dermaexp.data.groups import GROUP_COLUMN, with_groups
from dermaexp.data.splits import SPLITS, Splits

PREPARATION = ("grayscale", "normalize")  # done to a source's images: no part of the source

GROUPING = {  # done to a source's splits: key -> what holds where it is null or not there
    "groups": None,
    "group_column": GROUP_COLUMN,
    "split": "official",
    "folds": FOLDS,
    "fold": 0,
}
KEPT_BYTES = 2 * 1024**3

_kept: dict[str, Splits] = {}


def load_splits(dataset: DictConfig) -> Splits:
    """The splits that `dataset` describes.

    The jobs of a sweep that share a source and its groups load them once, unless its sources
    together are larger than `KEPT_BYTES`: then the oldest are loaded again when they are needed
    again. A fold is made of them for each job, and not kept.
    """
    source = copy.deepcopy(dataset)
    OmegaConf.set_readonly(source, False)
    OmegaConf.set_struct(source, False)
    for key in PREPARATION:
        source.pop(key)
    given = {key: source.pop(key, None) for key in GROUPING}
    grouping = {key: GROUPING[key] if given[key] is None else given[key] for key in GROUPING}
    splits = _loaded(source, grouping["groups"], grouping["group_column"])
    if grouping["split"] == "grouped":
        return resplit(splits, grouping["folds"], grouping["fold"])
    return splits


def _loaded(source: DictConfig, groups: str | None, column: str) -> Splits:
    """The source's own splits with their groups, from memory where they are kept.

    Relative paths in it mean the working directory, so that this is part of what they are kept by.
    """
    content = OmegaConf.to_container(source, resolve=True)
    key = json.dumps([content, groups, column, str(Path.cwd())], sort_keys=True)
    if key not in _kept:
        splits = _made(source, content)
        if groups is not None:
            if splits.synthetic and "if_unavailable" in source:
                raise UserError(
                    f"dataset.groups={groups} does not belong to the drawn lesions that stand in "
                    f"for {source['flag']}, which cannot be downloaded: give dataset.groups=null, "
                    "or the data with dataset=npz dataset.path=FILE"
                )
            splits = with_groups(splits, groups, column)
        while _kept and _size(splits) + sum(map(_size, _kept.values())) > KEPT_BYTES:
            del _kept[next(iter(_kept))]
        _kept[key] = splits
    return _kept[key]


def _made(source: DictConfig, content: dict[str, Any]) -> Splits:
    """What the source's function gives; `content` is `source` resolved."""
    if "${" not in json.dumps(content):
        return instantiate(source)
    # Hydra would read an interpolation in text that was given as it is, such as a path with "${".
    arguments = {key: value for key, value in content.items() if key != "_target_"}
    return get_method(content["_target_"])(**arguments)


def _size(splits: Splits) -> int:
    return sum(splits[split].images.nbytes for split in SPLITS)
