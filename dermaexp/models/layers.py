"""Parts that several nets share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from dermaexp.errors import UserError, nearest

ACTIVATIONS = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


def activation_layer(name: str) -> nn.Module:
    """The activation called `name`; UserError with the nearest one if there is none."""
    if name not in ACTIVATIONS:
        raise UserError(f"model.activation={name} is unknown: {nearest(name, ACTIVATIONS)}")
    return ACTIVATIONS[name]()


def classifier_head(
    features: int, hidden: Sequence[int], classes: int, activation: str
) -> list[nn.Module]:
    """Fully connected layers from `features` over `hidden` to `classes` logits."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise([features, *hidden]):
        layers += [nn.Linear(inputs, outputs), activation_layer(activation)]
    return [*layers, nn.Linear([features, *hidden][-1], classes)]
