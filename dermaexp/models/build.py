"""The model of a config, before any weights from a file."""

from __future__ import annotations

import copy
import inspect

from hydra.utils import get_method, instantiate
from omegaconf import DictConfig, open_dict
from torch import nn


def build_net(config: DictConfig, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Return the model of `config.model` for images (C, H, W) and `classes` logits.

    The weights of a library that the config names are in it; those of a file are not, see
    `models.weights`, unless the model takes them itself.
    """
    given = copy.deepcopy(config).model  # with the rest, to which its values may refer
    with open_dict(given):
        given.pop("init_from", None)
        if not takes_weights(given._target_):
            given.pop("weights", None)
    return instantiate(given, image_shape=image_shape, classes=classes)


def takes_weights(target: str) -> bool:
    """Whether the model of this `_target_` has an argument for weights, as libraries' have."""
    try:
        method = get_method(target)
    except (ImportError, ValueError):  # reported when it is built
        return False
    try:
        return "weights" in inspect.signature(method).parameters
    except ValueError:  # of a type that is built in
        return False
