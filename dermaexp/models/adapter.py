"""Other libraries' models on our images, whatever their size and channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dermaexp.core import rules
from dermaexp.core.errors import UserError, nearest, one_line
from dermaexp.models.config import BackboneConfig
from dermaexp.models.files import is_file

STEP = 32  # pixels; most models halve or cut their images by a divisor of it
STEPS = 7  # that many multiples in a row contain one of 224, the size of most models
LONGEST = 2000  # characters of a hint


class Backbone(nn.Module):
    """Scales images to `side` x `side`, standardises them by `mean` and `std`, then applies `net`.

    `side` None keeps their size. Gray images get as many channels as `mean` has. Checkpoints hold
    the side: with another version of the library, a trial may end at another one.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, net: nn.Module, side: int | None, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        # With the channels of a pixel side by side, CPUs and tensor cores convolve faster.
        self.net = net.to(memory_format=torch.channels_last)
        self.side = side
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))
        self.register_load_state_dict_post_hook(_without_side)

    def forward(self, images: Tensor) -> Tensor:
        if self.side is not None:
            smaller = max(images.shape[-2:]) > self.side
            size = (self.side, self.side)
            images = functional.interpolate(images, size, mode="bilinear", antialias=smaller)
        # (N, 1, H, W) against (3, 1, 1): this is where gray becomes RGB.
        images = (images - self.mean) / self.std
        return self.net(images.contiguous(memory_format=torch.channels_last))

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.side or 0, device="cpu")

    def set_extra_state(self, state: Tensor) -> None:
        self.side = int(state) or None


def _without_side(backbone: nn.Module, keys: Any) -> None:
    """Let checkpoints of version 0.2.0, which hold no side, load all the same."""
    keys.missing_keys[:] = [key for key in keys.missing_keys if not key.endswith("_extra_state")]


@dataclass(frozen=True)
class Model:
    """A model as its library knows it, and the images that its weights were trained on."""

    create: Callable[..., nn.Module]
    # Returns `create`'s arguments for a side; None if the model takes images of any.
    sized: Callable[[int | None], Mapping[str, Any]] | None = None
    side: int = 224
    mean: Sequence[float] = (0.0, 0.0, 0.0)
    std: Sequence[float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Library:
    """The models of a library, and what it calls them and their weights."""

    listing: str  # the call that lists the models
    archs: Callable[[], Sequence[str]]
    weights: Callable[[str], Sequence[str]]
    model: Callable[[str, str | None, int, int], Model]  # arch, weights, channels, classes

    def build(
        self,
        image_shape: tuple[int, int, int],
        classes: int,
        arch: str,
        weights: str | None = None,
        size: int | None = None,
        standardised: bool = False,
    ) -> Backbone:
        """The model that the library calls `arch`, for images (C, H, W) and `classes` logits.

        `weights` None starts from scratch. The name of weights loads them, adds a new last layer,
        and standardises images as for the weights unless they are `standardised` already. A file's
        path does the same with images, but leaves the weights to `models.weights.load`. `size` is
        the side to which images are scaled; None is the smallest enlargement that the model takes,
        or with weights its own size if that is fixed. Raises UserError for unknown names, for sizes
        that the model does not take, and for weights that are not available.
        """
        rules.check(BackboneConfig, {"arch": arch, "weights": weights, "size": size}, "model")
        named = None if is_file(weights) else weights
        self._check_names(str(arch), named)
        model = self.model(arch, named, image_shape[0], classes)
        if weights is None or standardised:
            channels = len(model.mean)
            model = replace(model, mean=[0.0] * channels, std=[1.0] * channels)
        if size or (weights and model.sized):
            return _fitted(arch, model, [size or model.side], image_shape)
        sides = sides_to_try(image_shape, any_size=model.sized is None)
        return _fitted(arch, model, [*sides, model.side], image_shape)

    def _check_names(self, arch: str, weights: str | None) -> None:
        archs = self.archs()
        stem, _, tag = arch.partition(".")
        if arch not in archs and stem in archs:
            raise UserError(
                f"model.arch={arch}: give the two as model.arch={stem} model.weights={tag}"
            )
        if arch not in archs:
            hint = nearest(arch, archs)
            if len(hint) > LONGEST:
                hint = f"{self.listing} has {len(archs)} others"
            raise UserError(f"model.arch={arch} is unknown: {hint}")
        if weights is not None and weights not in (known := self.weights(arch)):
            expected = ", ".join(["null", *known])
            raise UserError(f"model.weights={weights} is unknown: {arch} has {expected}")


def sides_to_try(image_shape: tuple[int, int, int], any_size: bool) -> list[int | None]:
    """None (the images' own size) for models of `any_size`, then the next multiples of 32."""
    first = -(-max(image_shape[1:]) // STEP) * STEP
    sides: list[int | None] = [first + step * STEP for step in range(STEPS)]
    return [None, *sides] if any_size else sides


def _fitted(
    arch: str, model: Model, sides: Sequence[int | None], image_shape: tuple[int, int, int]
) -> Backbone:
    """The model for the first of `sides` at which it takes such images."""
    net = nn.Identity() if model.sized else model.create()
    for side in sides:
        try:
            if model.sized:
                net = model.create(**model.sized(side))
            backbone = Backbone(net, side, model.mean, model.std)
            backbone.eval()  # the trial must not change running statistics
            with torch.no_grad():
                backbone(torch.zeros(1, *image_shape))
        except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
            reason = one_line(error)
        else:
            return backbone.train()
    raise UserError(
        f"model.arch={arch} fails on {image_shape[1]}x{image_shape[2]} images at model.size="
        f"{sides[-1]}: {reason}; give another size"
    )


def unavailable(name: str, folder: Path, reason: str, remedy: str) -> UserError:
    """The error for weights that are not in `folder` and cannot be downloaded."""
    return UserError(
        f"{name} is not in {folder} and cannot be downloaded ({reason}): {remedy}, give a file "
        "as model.weights=FILE, or train from scratch with model.weights=null"
    )
