"""From a `conf/dataset` config to splits, without torch: bad files are reported at once."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, cast

from hydra.utils import get_method, instantiate
from omegaconf import DictConfig, OmegaConf

from dermaexp.core.errors import UserError
from dermaexp.data.folds import FOLDS, resplit
from dermaexp.data.lesion_groups import GROUP_COLUMN, with_lesion_groups
from dermaexp.data.splits import SPLITS, Splits

PREPARATION = ("grayscale", "normalize")  # applied to a source's images, no part of the source
GROUPING: dict[str, Any] = {  # applied to a source's splits: key -> default, also for null
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

    The jobs of a sweep load a source and its lesion groups once and share them. If all sources
    together exceed `KEPT_BYTES`, the oldest are dropped. Folds are made for each job and not kept.
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
    """The source's own splits with their lesion groups, from memory if they are kept.

    Relative paths start in the working directory, which therefore is part of the key.
    """
    content = cast(dict[str, Any], OmegaConf.to_container(source, resolve=True))
    key = json.dumps([content, groups, column, str(Path.cwd())], sort_keys=True)
    if key not in _kept:
        splits = _made(source, content)
        if groups is not None:
            if splits.synthetic and "if_unavailable" in source:
                raise UserError(
                    f"dataset.groups={groups} does not belong to the synthetic lesions that stand "
                    f"in for {source['flag']}, which cannot be downloaded: give "
                    "dataset.groups=null, or the data with dataset=npz dataset.path=FILE"
                )
            splits = with_lesion_groups(splits, groups, column)
        while _kept and _size(splits) + sum(map(_size, _kept.values())) > KEPT_BYTES:
            del _kept[next(iter(_kept))]
        _kept[key] = splits
    return _kept[key]


def _made(source: DictConfig, content: dict[str, Any]) -> Splits:
    """The splits that the source's function returns; `content` is `source` resolved."""
    if "${" not in json.dumps(content):
        return instantiate(source)
    # Hydra would resolve literal text such as a path with "${".
    arguments = {key: value for key, value in content.items() if key != "_target_"}
    return get_method(content["_target_"])(**arguments)


def _size(splits: Splits) -> int:
    return sum(splits[split].images.nbytes for split in SPLITS)
