"""The blocks of a model, from the images to its last layer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from dermaexp.models import resnet
from dermaexp.models.adapter import Backbone
from dermaexp.models.cnn import CNN
from dermaexp.models.depth import blocks_of, body_of, head_of
from dermaexp.models.resnet11 import ResNet11


def of_torchvision(name: str) -> nn.Module:
    return Backbone(get_model(name, weights=None, num_classes=7), None, [0.0], [1.0])


MODELS: dict[str, tuple[Callable[[], nn.Module], str, int]] = {
    "cnn": (lambda: CNN((3, 28, 28), 7, channels=[8, 16]), "layers.9", 3),
    "resnet11": (lambda: ResNet11((3, 28, 28), 7), "head", 7),
    "resnet50": (lambda: resnet.resnet50((3, 28, 28), 7), "head", 17),
    "torchvision's resnet50": (lambda: of_torchvision("resnet50"), "net.fc", 17),
    "a vision transformer": (lambda: of_torchvision("vit_b_16"), "net.heads.head", 13),
    "a hierarchical one": (lambda: of_torchvision("swin_t"), "net.head", 16),
    "a convolution as head": (lambda: of_torchvision("squeezenet1_1"), "net.classifier.1", 9),
    "parallel branches": (lambda: of_torchvision("googlenet"), "net.fc", 14),  # two are auxiliary
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore:The default weight initialization of GoogleNet")
def test_a_model_consists_of_its_blocks_and_its_head(name: str) -> None:
    make, head, count = MODELS[name]
    with torch.device("meta"):
        net = make()
    assert head_of(net, 7) == head
    blocks = blocks_of(net, head)
    assert len(blocks) == count
    own = [*net.get_submodule(head).parameters(), *(one for block in blocks for one in block)]
    assert len(own) == len(set(own)), "each parameter once"
    assert set(own) == set(net.parameters())
    assert {one for module in body_of(net, head) for one in module.parameters(recurse=False)} == {
        one for block in blocks for one in block
    }


def test_normalisation_belongs_to_the_layer_before_and_a_position_to_the_first() -> None:
    with torch.device("meta"):
        residual = resnet.resnet18((3, 28, 28), 7)
        transformer = of_torchvision("vit_b_16")
    names = {parameter: name for name, parameter in residual.named_parameters()}
    first = [names[parameter] for parameter in blocks_of(residual, "head")[0]]
    assert first == ["stem.0.weight", "stem.1.weight", "stem.1.bias"]
    names = {parameter: name for name, parameter in transformer.named_parameters()}
    first = {names[parameter] for parameter in blocks_of(transformer, "net.heads.head")[0]}
    assert first == {
        "net.class_token",
        "net.encoder.pos_embedding",
        "net.conv_proj.weight",
        "net.conv_proj.bias",
    }


def test_a_model_without_last_layer() -> None:
    assert head_of(nn.Sequential(nn.Flatten(), nn.Linear(4, 6)), 7) is None
