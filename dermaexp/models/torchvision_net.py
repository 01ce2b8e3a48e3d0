"""torchvision's classifiers, from scratch or with the weights that it knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
import torchvision.models
from torch import Tensor, nn
from torchvision.models import Inception3, WeightsEnum, get_model, get_model_weights, list_models

from dermaexp.core.errors import UserError, one_line
from dermaexp.models.adapter import Library, Model, unavailable

# Families whose models have a fixed image size -> the arguments that give it.
FIXED_SIZE: dict[str, Callable[[int | None], dict[str, Any]]] = {
    "vit": lambda side: {"image_size": side},
    "maxvit": lambda side: {"input_size": (side, side)},
}
INCEPTIONS = ("googlenet", "inception_v3")  # have auxiliary logits, which our losses do not take


def _weights(arch: str) -> list[str]:
    """Such as IMAGENET1K_V1 and DEFAULT."""
    # One file of VGG-16 is for its feature maps only: its classifier holds no numbers.
    members = get_model_weights(arch).__members__
    return [name for name, member in members.items() if member.meta["categories"]]


def _model(arch: str, weights: str | None, channels: int, classes: int) -> Model:
    """Gray images are made RGB, as these models take no others."""
    sized = FIXED_SIZE.get(arch.partition("_")[0])
    if weights is None:
        options = {"aux_logits": False, "init_weights": True} if arch in INCEPTIONS else {}
        create = partial(get_model, arch, weights=None, num_classes=classes, **options)
        if arch in INCEPTIONS:  # their weights undo the standardisation of the others
            return Model(create, sized, mean=[0.5] * 3, std=[0.5] * 3)
        preset = get_model_weights(arch)["DEFAULT"].transforms()  # for weights from a file
        return Model(create, sized, mean=preset.mean, std=preset.std)
    member = get_model_weights(arch)[weights]
    model, preset = _pretrained(arch, member, classes), member.transforms()
    return Model(lambda **_: model, sized, preset.crop_size[0], preset.mean, preset.std)


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
        line = UserError(f"{file} cannot be loaded ({reason}): delete it to download it again")
        if not file.exists():
            line = unavailable(file.name, file.parent, reason, f"put {weights.url} there")
        raise line from None  # it contains the message of the error


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


build = Library(
    "torchvision.models.list_models()",
    partial(list_models, module=torchvision.models),
    _weights,
    _model,
).build
