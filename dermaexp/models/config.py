"""Rules for the options of models; what depends on the images is checked when they are built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from annotated_types import Predicate
from pydantic import Field, model_validator

from dermaexp.core.errors import UserError
from dermaexp.core.rules import Component, Count, Text
from dermaexp.models.files import SUFFIXES, is_file

Widths = Annotated[
    Sequence[Count], Field(description="a list of whole numbers from 1, such as [64,32]")
]
Activation = Literal["sigmoid", "tanh", "relu", "leaky_relu", "gelu", "silu"]
Pixels = Annotated[Count, Field(description="a whole number of pixels from 1, or null")]
Arch = Annotated[Text, Field(description="a model's name in the library")]
File = Annotated[
    Text,
    Predicate(is_file),
    Field(description=f"the path of a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file, or null"),
]
Weights = Annotated[
    Text, Field(description="DEFAULT, another name in the library, a file's path, or null")
]
Published = Annotated[Literal["DEFAULT"], Field(description="DEFAULT")]
Run = Annotated[Text, Field(description="a finished run's directory, or null")]


class Loading(Component):
    """The keys that every model has, for weights to start from."""

    weights: File | None = None
    init_from: Run | None = None

    @model_validator(mode="after")
    def _has_one_beginning(self) -> Self:
        if self.weights is not None and self.init_from is not None:
            raise UserError(
                f"model.weights={self.weights} and model.init_from={self.init_from} exclude each "
                "other: give one of them"
            )
        return self


class FFNConfig(Loading):
    hidden: Widths = (256,)
    activation: Activation = "sigmoid"


class CNNConfig(Loading):
    channels: Widths = (32,)
    hidden: Widths = (128,)
    activation: Activation = "relu"


class ResNet11Config(Loading):
    width: Count = 24


class BackboneConfig(Loading):
    arch: Arch
    weights: Weights | None = None
    size: Pixels | None = None
    standardised: Any = False  # whatever dataset.normalize takes


class EfficientNetLite0Config(Loading):
    weights: Published | File | None = "DEFAULT"
    size: Pixels | None = 224
    standardised: Any = False


COMPONENTS: dict[str, type[Component]] = {  # by _target_
    "dermaexp.models.cnn.CNN": CNNConfig,
    "dermaexp.models.efficientnet_lite0.build": EfficientNetLite0Config,
    "dermaexp.models.ffn.FFN": FFNConfig,
    "dermaexp.models.resnet.resnet18": Loading,
    "dermaexp.models.resnet.resnet50": Loading,
    "dermaexp.models.resnet11.ResNet11": ResNet11Config,
    "dermaexp.models.timm_net.build": BackboneConfig,
    "dermaexp.models.torchvision_net.build": BackboneConfig,
}
