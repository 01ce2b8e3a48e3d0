"""The small convolutional network of the comparison."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dermaexp.core import rules
from dermaexp.core.errors import UserError
from dermaexp.models.config import Activation, CNNConfig
from dermaexp.models.layers import ACTIVATIONS, classifier_head

KERNEL = 3
POOL = 2


class CNN(nn.Module):
    """Blocks of unpadded 3x3 convolution, activation and 2x2 max-pool; fully connected layers."""

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        classes: int,
        channels: Sequence[int] = (32,),
        hidden: Sequence[int] = (128,),
        activation: Activation = "relu",
    ) -> None:
        """`image_shape` is (C, H, W); `channels` the filters of each block, `hidden` as in FFN."""
        super().__init__()
        given = {"channels": channels, "hidden": hidden, "activation": activation}
        rules.check(CNNConfig, given, "model")
        inputs, height, width = image_shape
        blocks: list[nn.Module] = []
        for filters in channels:
            blocks += [
                nn.Conv2d(inputs, filters, KERNEL),
                ACTIVATIONS[activation](),
                nn.MaxPool2d(POOL),
            ]
            inputs = filters
            height, width = ((side - KERNEL + 1) // POOL for side in (height, width))
        if min(height, width) < 1:
            raise UserError(
                f"model.channels={list(channels)}: {len(channels)} blocks leave nothing of "
                f"{image_shape[1]}x{image_shape[2]} images; give fewer blocks or larger images"
            )
        head = classifier_head(inputs * height * width, hidden, classes, activation)
        self.layers = nn.Sequential(*blocks, nn.Flatten(), *head)
        # With the channels of a pixel side by side, CPUs and tensor cores convolve faster. The
        # convolutions lay out their outputs as their weights.
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)
