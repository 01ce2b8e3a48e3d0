"""timm's models, from scratch or with the weights that it knows; timm is an extra."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dermaexp.core import rules
from dermaexp.core.errors import UserError, nearest_of, one_line
from dermaexp.models.adapter import Backbone, fitted, sides_to_try
from dermaexp.models.config import BackboneConfig

try:
    import timm
    from timm.models import PretrainedCfg
except ImportError as error:
    line = f"model=timm needs a package that is missing ({error}): pip install 'dermaexp[timm]'"
    raise UserError(line) from error


def build(
    image_shape: tuple[int, int, int],
    classes: int,
    arch: str,
    weights: str | None = None,
    size: int | None = None,
    standardised: bool = False,
) -> Backbone:
    """The model that timm calls `arch`, for images (C, H, W) and `classes` logits.

    Takes what `torchvision_net.build` takes, but `weights` are DEFAULT or one of timm's tags, such
    as c3_in1k. For gray images the first layer has one channel.
    """
    rules.check(BackboneConfig, {"arch": arch, "weights": weights, "size": size}, "model")
    _check_arch(str(arch))
    pretrained = weights is not None
    name = arch if weights is None else _tagged(arch, weights)
    config = timm.models.get_pretrained_cfg(name) or PretrainedCfg()
    any_size, own_side = not config.fixed_input_size, config.input_size[-1]
    sides: list[int | None]
    if size:
        sides = [size]
    elif pretrained and not any_size:
        sides = [own_side]
    else:
        sides = [*sides_to_try(image_shape, any_size), own_side]
    channels = image_shape[0]
    mean, std = [0.0] * channels, [1.0] * channels
    if pretrained and not standardised:
        mean, std = _for_channels(config.mean, channels), _for_channels(config.std, channels)
    make = _maker(name, config, pretrained=pretrained, in_chans=channels, num_classes=classes)
    return fitted(arch, make, sides, image_shape, mean, std)


def _check_arch(arch: str) -> None:
    names = timm.list_models()
    if arch in names:
        return
    stem, _, tag = arch.partition(".")
    if stem in names:
        raise UserError(f"model.arch={arch}: give the two as model.arch={stem} model.weights={tag}")
    near = nearest_of(arch, names)
    hint = f"did you mean '{near}'?" if near else f"timm.list_models() has {len(names)} others"
    raise UserError(f"model.arch={arch} is unknown: {hint}")


def _tagged(arch: str, weights: str) -> str:
    """timm's name of the model with those weights."""
    names = timm.list_pretrained(f"{arch}.*")
    if weights == "DEFAULT" and names:
        return arch
    if f"{arch}.{weights}" not in names:
        tags = [name.partition(".")[2] for name in names]
        expected = ", ".join(["null", *(["DEFAULT"] if tags else []), *tags])
        raise UserError(f"model.weights={weights} is unknown: {arch} has {expected}")
    return f"{arch}.{weights}"


def _for_channels(values: tuple[float, ...], channels: int) -> list[float]:
    """The values of RGB, or their mean for gray, whose filters are timm's sums of RGB's."""
    return list(values) if len(values) == channels else [sum(values) / len(values)] * channels


def _maker(name: str, config: Any, **options: Any) -> Callable[[int | None], nn.Module]:
    """Builds the model for a side: the same model for all, unless its size is fixed."""

    def create(**more: Any) -> nn.Module:
        try:
            return timm.create_model(name, **options, **more)
        except OSError as error:
            # The line contains the message of the error.
            raise UserError(_unavailable(config, error)) from None

    if config.fixed_input_size:
        return lambda side: create(img_size=side)
    model = create()
    return lambda side: model


def _unavailable(config: Any, error: OSError) -> str:
    """Which weights are not available, why, and where they are looked for."""
    if config.hf_hub_id:
        from huggingface_hub import constants

        name, folder = config.hf_hub_id, Path(constants.HF_HUB_CACHE)
        remedy = f"run `hf download {name}` with a network"
    else:
        name, folder = Path(config.url).name, Path(torch.hub.get_dir(), "checkpoints")
        remedy = f"put {config.url} there"
    reason = one_line(error.__cause__ or error)
    return (
        f"{name} is not in {folder} and cannot be downloaded ({reason}): {remedy}, or train from "
        "scratch with model.weights=null"
    )
