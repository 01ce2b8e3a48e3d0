"""From a `conf/dataset` config to splits; without torch, so that a bad file is told at once."""

from __future__ import annotations

import json

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from dermaexp.data.splits import SPLITS, Splits

PREPARATION = ("grayscale", "normalize")  # done to a source's images: no part of the source
KEPT_BYTES = 2 * 1024**3

_kept: dict[str, Splits] = {}


def load_splits(dataset: DictConfig) -> Splits:
    """The splits that `dataset` describes.

    The jobs of a sweep that share a source load it once, unless its sources together are larger
    than `KEPT_BYTES`: then the oldest are loaded again when they are needed again.
    """
    source = OmegaConf.to_container(dataset, resolve=True)
    for key in PREPARATION:
        source.pop(key)
    key = json.dumps(source, sort_keys=True)
    if key not in _kept:
        splits = instantiate(source)
        while _kept and _size(splits) + sum(map(_size, _kept.values())) > KEPT_BYTES:
            del _kept[next(iter(_kept))]
        _kept[key] = splits
    return _kept[key]


def _size(splits: Splits) -> int:
    return sum(splits[split].images.nbytes for split in SPLITS)
