"""Parts that several models share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import nn

from dermaexp.core.errors import UserError, nearest

ACTIVATIONS = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


def activation_layer(name: str) -> nn.Module:
    """The activation called `name`; UserError with the nearest name if there is none."""
    if name not in ACTIVATIONS:
        raise UserError(f"model.activation={name} is unknown: {nearest(name, ACTIVATIONS)}")
    return ACTIVATIONS[name]()


def check_widths(key: str, widths: Any) -> None:
    """Raise UserError unless `widths` is a list of whole numbers from 1."""
    is_list = isinstance(widths, Sequence) and not isinstance(widths, str)
    if not is_list or any(type(width) is not int or width < 1 for width in widths):
        raise UserError(f"{key}={widths}: expected a list of whole numbers from 1, such as [64,32]")


def classifier_head(
    features: int, hidden: Sequence[int], classes: int, activation: str
) -> list[nn.Module]:
    """Fully connected layers from `features` over `hidden` to `classes` logits."""
    check_widths("model.hidden", hidden)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise([features, *hidden]):
        layers += [nn.Linear(inputs, outputs), activation_layer(activation)]
    return [*layers, nn.Linear([features, *hidden][-1], classes)]
