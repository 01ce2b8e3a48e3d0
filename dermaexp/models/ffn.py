"""The feed-forward network of the comparison."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from dermaexp.core import rules
from dermaexp.models.config import Activation, FFNConfig
from dermaexp.models.layers import classifier_head


class FFN(nn.Module):
    """Flatten, then fully connected layers."""

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        classes: int,
        hidden: Sequence[int] = (256,),
        activation: Activation = "sigmoid",
    ) -> None:
        """`image_shape` is (C, H, W); `hidden` the units of each hidden layer."""
        super().__init__()
        rules.check(FFNConfig, {"hidden": hidden, "activation": activation}, "model")
        head = classifier_head(math.prod(image_shape), hidden, classes, activation)
        self.layers = nn.Sequential(nn.Flatten(), *head)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)
