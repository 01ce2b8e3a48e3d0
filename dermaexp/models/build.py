"""The model of a config, before any weights from a file."""

from __future__ import annotations

import copy
import inspect
import pydoc
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, open_dict
from torch import nn

from dermaexp.core.errors import UserError

PROGRAM = "__main__."  # begins what a script or notebook defines


def build_net(config: DictConfig, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Return the model of `config.model` for images (C, H, W) and `classes` logits.

    The weights of a library that the config names are in it; those of a file are not, see
    `models.weights`, unless the model takes them itself.
    """
    given = copy.deepcopy(config.model)
    with open_dict(given):
        given.pop("init_from", None)
        if not takes_weights(given._target_):
            given.pop("weights", None)
    if given._target_.startswith(PROGRAM) and located(given._target_) is None:
        raise UserError(
            f"model._target_={given._target_} is not defined by the program that runs now: use "
            "dermaexp.load_run in the script or notebook that defines it, or train with a model "
            "from a module of its own"
        )
    return instantiate(given, image_shape=image_shape, classes=classes)


def takes_weights(target: str) -> bool:
    """Whether the model of this `_target_` has an argument for weights, as libraries' have."""
    try:
        return "weights" in inspect.signature(located(target)).parameters
    except (TypeError, ValueError):  # nothing, which is reported when it is built, or built in
        return False


def located(target: str) -> Any:
    """Return what a `_target_` names, None if there is none; without Hydra's lines on it."""
    try:
        return pydoc.locate(target)
    except pydoc.ErrorDuringImport:
        return None
