"""A small residual network for images of 28 to 64 pixels, fast on CPUs too."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dermaexp.core import rules
from dermaexp.core.errors import UserError
from dermaexp.models.config import ResNet11Config

SMALLEST_SIDE = 8  # three halvings


class ResNet11(nn.Module):
    """Ten 3x3 convolutions, three halvings, and a residual block after each halving.

    Modelled on the ResNet-9 with which D. Page trained CIFAR-10 in a minute (DAWNBench, 2018),
    which has no block in its middle stage. The last layer takes the mean and the maximum of every
    feature map, so that images may have any size.
    """

    def __init__(self, image_shape: tuple[int, int, int], classes: int, width: int = 24) -> None:
        """`image_shape` is (C, H, W); `width` the filters of the first convolution."""
        super().__init__()
        rules.check(ResNet11Config, {"width": width}, "model")
        channels, *sides = image_shape
        if min(sides) < SMALLEST_SIDE:
            raise UserError(
                f"model=resnet11 halves images three times: expected at least {SMALLEST_SIDE} "
                f"pixels a side, not {sides[0]}x{sides[1]}"
            )
        stages: list[nn.Module] = [_convolution(channels, width)]
        for filters in (2 * width, 4 * width, 8 * width):
            stages += [_convolution(width, filters), nn.MaxPool2d(2), Residual(filters)]
            width = filters
        self.maps = nn.Sequential(*stages)
        self.head = nn.Linear(2 * width, classes)
        # With the channels of a pixel side by side, CPUs and tensor cores convolve faster.
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.maps(images.contiguous(memory_format=torch.channels_last))
        return self.head(torch.cat([maps.amax(dim=(2, 3)), maps.mean(dim=(2, 3))], dim=1))


class Residual(nn.Module):
    """x + two convolutions of x; starts as x alone, as the last normalisation starts at zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        last = nn.BatchNorm2d(channels)
        self.branch = nn.Sequential(
            _convolution(channels, channels),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            last,
        )
        nn.init.zeros_(last.weight)

    def forward(self, maps: Tensor) -> Tensor:
        return (maps + self.branch(maps)).relu()


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )
