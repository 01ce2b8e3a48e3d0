"""Nets: exact parameter counts, shapes, and what they refuse."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import nn

from dermaexp.core.errors import UserError
from dermaexp.models.cnn import CNN
from dermaexp.models.config import Activation
from dermaexp.models.ffn import FFN
from dermaexp.models.layers import ACTIVATIONS
from dermaexp.models.resnet11 import ResNet11


def count(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def test_parameter_counts_of_the_original() -> None:
    assert count(FFN((1, 28, 28), 7)) == 202_759
    assert count(CNN((1, 28, 28), 7)) == 693_575


def test_parameter_counts_of_other_widths() -> None:
    ffn = FFN((3, 28, 28), 7, hidden=[512, 128])
    assert count(ffn) == (2352 * 512 + 512) + (512 * 128 + 128) + (128 * 7 + 7)
    cnn = CNN((3, 28, 28), 2, channels=[32, 64], hidden=[16])
    convolutions = (3 * 9 * 32 + 32) + (32 * 9 * 64 + 64)  # 28 -> 26 -> 13 -> 11 -> 5
    assert count(cnn) == convolutions + (64 * 25 * 16 + 16) + (16 * 2 + 2)
    assert count(FFN((1, 4, 4), 3, hidden=[])) == 16 * 3 + 3


def test_parameter_counts_of_resnet11() -> None:
    """Convolutions 3x3, two numbers of each normalisation, and the last layer."""

    def convolution(inputs: int, outputs: int) -> int:
        return 9 * inputs * outputs + 2 * outputs

    stages = [
        convolution(inputs, outputs) + 2 * convolution(outputs, outputs)
        for inputs, outputs in ((8, 16), (16, 32), (32, 64))
    ]
    assert count(ResNet11((3, 28, 28), 7, width=8)) == (
        convolution(3, 8) + sum(stages) + (128 * 7 + 7)
    )


def test_resnet11_begins_with_empty_branches() -> None:
    """Each residual block passes its input on: the branch ends with a zero."""
    net = ResNet11((1, 8, 8), 2, width=2)
    branches = [module.branch for module in net.modules() if hasattr(module, "branch")]
    assert len(branches) == 3
    for branch in branches:
        assert not branch(torch.rand(2, branch[0][0].in_channels, 4, 4)).any()


@pytest.mark.parametrize("net_class", [FFN, CNN, ResNet11])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 28, 28), (3, 64, 64), (1, 20, 36)])
def test_logits_of_any_source(net_class: type[nn.Module], shape: tuple[int, int, int]) -> None:
    net = net_class(shape, 5)
    logits = net(torch.rand(4, *shape))
    assert logits.shape == (4, 5)
    assert not torch.allclose(logits.sum(dim=1), torch.ones(4)), "softmax belongs to the loss"


def test_the_original_layers() -> None:
    ffn = [type(layer) for layer in FFN((1, 28, 28), 7).layers]
    assert ffn == [nn.Flatten, nn.Linear, nn.Sigmoid, nn.Linear]
    cnn = [type(layer) for layer in CNN((1, 28, 28), 7).layers]
    assert cnn == [nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.Flatten, nn.Linear, nn.ReLU, nn.Linear]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "rleu"}, "model.activation=rleu is unknown: did you mean 'relu'?"),
        ({"channels": [8, 8, 8, 8]}, "4 blocks leave nothing of 28x28 images"),
        ({"channels": [0]}, "model.channels=[0]: expected a list of whole numbers from 1"),
        ({"hidden": 128}, "model.hidden=128: expected a list of whole numbers from 1"),
        ({"hidden": [1.5]}, "model.hidden=[1.5]: expected a list of whole numbers from 1"),
    ],
)
def test_what_a_cnn_refuses(options: dict, message: str) -> None:
    with pytest.raises(UserError) as error:
        CNN((1, 28, 28), 7, **options)
    assert message in str(error.value)


def test_what_resnet11_refuses() -> None:
    with pytest.raises(UserError, match=r"model.width=0: expected a whole number from 1"):
        ResNet11((3, 28, 28), 7, width=0)
    with pytest.raises(UserError, match=r"at least 8 pixels a side, not 7x9"):
        ResNet11((3, 7, 9), 7)


def test_each_activation_of_the_config_has_its_layer() -> None:
    assert tuple(ACTIVATIONS) == get_args(Activation)
