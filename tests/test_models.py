"""Nets: exact parameter counts, shapes, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dermaexp.errors import UserError
from dermaexp.models.cnn import CNN
from dermaexp.models.ffn import FFN


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


@pytest.mark.parametrize("net_class", [FFN, CNN])
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
