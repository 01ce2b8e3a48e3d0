"""Rules for the options of models; what depends on the images is checked when they are built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from dermaexp.core.rules import Component, Count, Text

Widths = Annotated[
    Sequence[Count], Field(description="a list of whole numbers from 1, such as [64,32]")
]
Activation = Literal["sigmoid", "tanh", "relu", "leaky_relu", "gelu", "silu"]
Pixels = Annotated[Count, Field(description="a whole number of pixels from 1, or null")]
Arch = Annotated[Text, Field(description="a model's name in the library")]
Weights = Annotated[Text, Field(description="DEFAULT, another name in the library, or null")]


class FFNConfig(Component):
    hidden: Widths = (256,)
    activation: Activation = "sigmoid"


class CNNConfig(Component):
    channels: Widths = (32,)
    hidden: Widths = (128,)
    activation: Activation = "relu"


class ResNet11Config(Component):
    width: Count = 24


class BackboneConfig(Component):
    arch: Arch
    weights: Weights | None = None
    size: Pixels | None = None
    standardised: Any = False  # whatever dataset.normalize takes


COMPONENTS: dict[str, type[Component]] = {  # by _target_
    "dermaexp.models.cnn.CNN": CNNConfig,
    "dermaexp.models.ffn.FFN": FFNConfig,
    "dermaexp.models.resnet.resnet18": Component,
    "dermaexp.models.resnet.resnet50": Component,
    "dermaexp.models.resnet11.ResNet11": ResNet11Config,
    "dermaexp.models.timm_net.build": BackboneConfig,
    "dermaexp.models.torchvision_net.build": BackboneConfig,
}
