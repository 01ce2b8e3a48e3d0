"""torchvision's classifiers, from scratch or with the weights that it knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import torch
import torchvision.models
from torch import Tensor, nn
from torchvision.models import Inception3, WeightsEnum, get_model, get_model_weights, list_models

from dermaexp.core.errors import UserError, nearest
from dermaexp.models.adapter import Backbone, check_size, fitted, one_line, sides_to_try

# Families whose nets are made for one size of images, and how they are told it.
FIXED_SIZE = {
    "vit": lambda side: {"image_size": side},
    "maxvit": lambda side: {"input_size": (side, side)},
}
INCEPTIONS = ("googlenet", "inception_v3")  # with auxiliary logits, which our losses do not take
AS_THEY_ARE = ([0.0] * 3, [1.0] * 3)  # mean and standard deviation of RGB


def build(
    image_shape: tuple[int, int, int],
    classes: int,
    arch: str,
    weights: str | None = None,
    size: int | None = None,
    standardised: bool = False,
) -> Backbone:
    """The net that torchvision calls `arch`, for images (C, H, W) and `classes` logits.

    `weights` None starts from scratch; a name such as DEFAULT or IMAGENET1K_V1 loads them, with a
    new last layer, and standardises images as theirs were unless they are `standardised` already.
    `size` is the side to which images are scaled, None the smallest enlargement that the net takes,
    and for nets of one size with weights theirs. Raises UserError for unknown names, for sizes that
    the net does not take and for weights that cannot be had.
    """
    check_size(size)
    names = list_models(module=torchvision.models)
    if arch not in names:
        raise UserError(f"model.arch={arch} is unknown: {nearest(str(arch), names)}")
    any_size = _family(arch) not in FIXED_SIZE
    sides = [size] if size else sides_to_try(image_shape, any_size)
    if weights is None:
        return fitted(arch, _from_scratch(arch, classes), sides, image_shape, *AS_THEY_ARE)
    member = _member(arch, weights)
    net = _pretrained(arch, member, classes)
    if not any_size and not size:
        sides = member.meta["min_size"][:1]
    preset = member.transforms()
    mean, std = AS_THEY_ARE if standardised else (preset.mean, preset.std)
    return fitted(arch, lambda side: net, sides, image_shape, mean, std)


def _family(arch: str) -> str:
    return arch.partition("_")[0]


def _from_scratch(arch: str, classes: int) -> Callable[[int | None], nn.Module]:
    """What gives the net for a side; the same one for all, unless it is made for one."""
    options = {"weights": None, "num_classes": classes}
    if told := FIXED_SIZE.get(_family(arch)):
        return lambda side: get_model(arch, **options, **told(side))
    if arch in INCEPTIONS:
        options |= {"aux_logits": False, "init_weights": True}
    net = get_model(arch, **options)
    return lambda side: net


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
    """The net with `weights` and a new last layer of `classes` outputs."""
    net = _built(arch, weights, _fetched(weights))
    if isinstance(net, Inception3):
        net.aux_logits, net.AuxLogits = False, None
    outputs = len(weights.meta["categories"])
    *_, (name, last) = (
        (name, layer)
        for name, layer in net.named_modules()
        if outputs in (getattr(layer, "out_features", 0), getattr(layer, "out_channels", 0))
    )
    if isinstance(last, nn.Linear):
        head = nn.Linear(last.in_features, classes, bias=last.bias is not None)
    else:
        head = nn.Conv2d(last.in_channels, classes, last.kernel_size)
    parent, _, child = name.rpartition(".")
    setattr(net.get_submodule(parent), child, head)
    return net


def _fetched(weights: WeightsEnum) -> Mapping[str, Tensor]:
    """The `weights`, from where torch hub keeps them or downloaded: tensors, and nothing else.

    torchvision itself would load whatever lies there as a pickle.
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
        # Not from the error: the line has what it says, and more.
        raise UserError(line) from None


def _built(arch: str, weights: WeightsEnum, state: Mapping[str, Tensor]) -> nn.Module:
    """The net as torchvision builds it for these weights, with the `state` that was loaded.

    Its builders know what weights ask of a net, but load them by themselves, unsafely.
    """
    kind = type(weights)
    kind.get_state_dict = lambda *_, **__: state  # type: ignore[method-assign]
    try:
        return get_model(arch, weights=weights)
    finally:
        del kind.get_state_dict
