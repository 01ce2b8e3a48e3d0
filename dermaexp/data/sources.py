"""From a `conf/dataset` config to splits; without torch, so that a bad file is told at once."""

from __future__ import annotations

import functools
import json

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from dermaexp.data.splits import Splits

PREPARATION = ("grayscale", "normalize")  # done to a source's images: no part of the source


def load_splits(dataset: DictConfig) -> Splits:
    """The splits that `dataset` describes; the jobs of a sweep that share a source load it once."""
    source = OmegaConf.to_container(dataset, resolve=True)
    for key in PREPARATION:
        source.pop(key)
    return _load_source(json.dumps(source, sort_keys=True))


@functools.lru_cache(maxsize=1)  # more could fill the memory
def _load_source(source: str) -> Splits:
    return instantiate(json.loads(source))
