"""Other libraries' models on our images, whatever their size and channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from dermaexp.core.errors import UserError, one_line

STEP = 32  # pixels; most models halve or cut their images by a divisor of it
STEPS = 7  # that many multiples in a row contain one of 224, the size of most models


class Backbone(nn.Module):
    """Scales images to `side` x `side`, standardises them by `mean` and `std`, then applies `net`.

    `side` None keeps their size. Gray images get as many channels as `mean` has.
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

    def forward(self, images: Tensor) -> Tensor:
        if self.side is not None:
            smaller = max(images.shape[-2:]) > self.side
            size = (self.side, self.side)
            images = functional.interpolate(images, size, mode="bilinear", antialias=smaller)
        # (N, 1, H, W) against (3, 1, 1): this is where gray becomes RGB.
        images = (images - self.mean) / self.std
        return self.net(images.contiguous(memory_format=torch.channels_last))


def sides_to_try(image_shape: tuple[int, int, int], any_size: bool) -> list[int | None]:
    """None (the images' own size) for models of `any_size`, then the next multiples of 32."""
    first = -(-max(image_shape[1:]) // STEP) * STEP
    sides: list[int | None] = [first + step * STEP for step in range(STEPS)]
    return [None, *sides] if any_size else sides


def fitted(
    arch: str,
    make: Callable[[int | None], nn.Module],
    sides: Sequence[int | None],
    image_shape: tuple[int, int, int],
    mean: Sequence[float],
    std: Sequence[float],
) -> Backbone:
    """The model that `make` builds for the first of `sides` at which it takes such images."""
    for side in sides:
        try:
            backbone = Backbone(make(side), side, mean, std)
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
