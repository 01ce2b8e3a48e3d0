"""Parts that several models share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from dermaexp.models.config import Activation

ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


def classifier_head(
    features: int, hidden: Sequence[int], classes: int, activation: Activation
) -> list[nn.Module]:
    """Fully connected layers from `features` over `hidden` to `classes` logits."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise([features, *hidden]):
        layers += [nn.Linear(inputs, outputs), ACTIVATIONS[activation]()]
    return [*layers, nn.Linear([features, *hidden][-1], classes)]
