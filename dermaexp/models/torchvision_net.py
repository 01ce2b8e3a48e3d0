"""torchvision's classifiers, from scratch or with the weights that it knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
import torchvision.models
from torch import Tensor, nn
from torchvision.models import Inception3, WeightsEnum, get_model, get_model_weights, list_models

from dermaexp.core import rules
from dermaexp.core.errors import UserError, nearest, one_line
from dermaexp.models.adapter import Backbone, fitted, sides_to_try
from dermaexp.models.config import BackboneConfig

# Families whose models have a fixed image size -> the arguments that give it.
FIXED_SIZE: dict[str, Callable[[int | None], dict[str, Any]]] = {
    "vit": lambda side: {"image_size": side},
    "maxvit": lambda side: {"input_size": (side, side)},
}
INCEPTIONS = ("googlenet", "inception_v3")  # have auxiliary logits, which our losses do not take
AS_THEY_ARE = ([0.0] * 3, [1.0] * 3)  # mean and standard deviation of RGB


def build(
    image_shape: tuple[int, int, int],
    classes: int,
    arch: str,
    weights: str | None = None,
    size: int | None = None,
    standardised: bool = False,
) -> Backbone:
    """The model that torchvision calls `arch`, for images (C, H, W) and `classes` logits.

    `weights` None starts from scratch. A name such as DEFAULT or IMAGENET1K_V1 loads weights, adds
    a new last layer, and standardises images as for the weights unless they are `standardised`
    already. `size` is the side to which images are scaled; None is the smallest enlargement that
    the model takes, or with weights its own size if that is fixed. Raises UserError for unknown
    names, for sizes that the model does not take, and for weights that are not available.
    """
    rules.check(BackboneConfig, {"arch": arch, "weights": weights, "size": size}, "model")
    names = list_models(module=torchvision.models)
    if arch not in names:
        raise UserError(f"model.arch={arch} is unknown: {nearest(str(arch), names)}")
    any_size = _family(arch) not in FIXED_SIZE
    sides: list[int | None] = [size] if size else sides_to_try(image_shape, any_size)
    if weights is None:
        return fitted(arch, _from_scratch(arch, classes), sides, image_shape, *AS_THEY_ARE)
    member = _member(arch, weights)
    model = _pretrained(arch, member, classes)
    if not any_size and not size:
        sides = member.meta["min_size"][:1]
    preset = member.transforms()
    mean, std = AS_THEY_ARE if standardised else (preset.mean, preset.std)
    return fitted(arch, lambda side: model, sides, image_shape, mean, std)


def _family(arch: str) -> str:
    return arch.partition("_")[0]


def _from_scratch(arch: str, classes: int) -> Callable[[int | None], nn.Module]:
    """Builds the model for a side: the same model for all, unless its size is fixed."""
    options = {"weights": None, "num_classes": classes}
    if for_side := FIXED_SIZE.get(_family(arch)):
        return lambda side: get_model(arch, **options, **for_side(side))
    if arch in INCEPTIONS:
        options |= {"aux_logits": False, "init_weights": True}
    model = get_model(arch, **options)
    return lambda side: model


def _member(arch: str, weights: str) -> WeightsEnum:
    # One file of VGG-16 is for its feature maps only: its classifier holds no numbers.
    members = {
        name: member
        for name, member in get_model_weights(arch).__members__.items()
        if member.meta["categories"]
    }
    if weights not in members:
        expected = ", ".join(["null", *members])
        raise UserError(f"model.weights={weights} is unknown: {arch} has {expected}")
    return members[weights]


def _pretrained(arch: str, weights: WeightsEnum, classes: int) -> nn.Module:
    """The model with `weights` and a new last layer of `classes` outputs."""
    model = _built(arch, weights, _fetched(weights))
    if isinstance(model, Inception3):
        model.aux_logits, model.AuxLogits = False, None
    outputs = len(weights.meta["categories"])
    *_, (name, last) = (
        (name, layer)
        for name, layer in model.named_modules()
        if outputs in (getattr(layer, "out_features", 0), getattr(layer, "out_channels", 0))
    )
    head: nn.Module
    if isinstance(last, nn.Linear):
        head = nn.Linear(last.in_features, classes, bias=last.bias is not None)
    else:
        head = nn.Conv2d(last.in_channels, classes, last.kernel_size)
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, head)
    return model


def _fetched(weights: WeightsEnum) -> Mapping[str, Tensor]:
    """The `weights` as tensors only, from torch hub's folder or downloaded.

    torchvision itself would unpickle whatever the file holds.
    """
    file = Path(torch.hub.get_dir(), "checkpoints", Path(urlsplit(weights.url).path).name)
    try:
        return weights.get_state_dict(map_location="cpu", check_hash=True, weights_only=True)
    except Exception as error:
        reason = one_line(getattr(error, "reason", error))
        if file.exists():
            line = f"{file} cannot be loaded ({reason}): delete it to download it again"
        else:
            line = (
                f"{file.name} is not in {file.parent} and cannot be downloaded ({reason}): put "
                f"{weights.url} there, or train from scratch with model.weights=null"
            )
        # The line contains the message of the error.
        raise UserError(line) from None


def _built(arch: str, weights: WeightsEnum, state: Mapping[str, Tensor]) -> nn.Module:
    """The model as torchvision builds it for these weights, with the loaded `state`.

    Its builders know what the weights need, but would load them unsafely themselves.
    """
    kind = type(weights)
    kind.get_state_dict = lambda *_, **__: state
    try:
        return get_model(arch, weights=weights)
    finally:
        del kind.get_state_dict
