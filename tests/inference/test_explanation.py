"""Attributions, against numbers computed by hand."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from dermaexp.core.errors import UserError
from dermaexp.inference.explanation import _map_layer, attributions, method_of, overlay
from dermaexp.inference.trained import TrainedModel
from dermaexp.models.adapter import Backbone
from dermaexp.models.cnn import CNN
from dermaexp.models.ffn import FFN
from dermaexp.models.resnet import resnet18
from dermaexp.models.resnet11 import ResNet11
from dermaexp.training.tta import VIEWS


def model_of(net: nn.Module, channels: int, side: int, mean: float = 0.0) -> TrainedModel:
    shape = (channels, side, side)
    mean, std = torch.full((channels, 1, 1), mean), torch.ones(channels, 1, 1)
    model = TrainedModel(
        net,
        mean,
        std,
        image_shape=shape,
        classes=("a", "b"),
        views=VIEWS["dihedral"],
        temperature=2.0,
    )
    return model.eval()


def small_net() -> nn.Module:
    """A map of 2 x 2: the centre of 4 x 4 pixels, and the same negated; each class reads it."""
    convolution, linear = nn.Conv2d(1, 2, 3, bias=False), nn.Linear(8, 2, bias=False)
    net = nn.Sequential(convolution, nn.Flatten(), linear)
    with torch.no_grad():
        convolution.weight.zero_()
        convolution.weight[:, 0, 1, 1] = torch.tensor([1.0, -1.0])
        linear.weight[0] = torch.tensor([1.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 2.0])
        linear.weight[1] = -linear.weight[0]
    return net


def test_grad_cam_by_hand() -> None:
    """The maps count with their mean gradients 1 and 0.5, so that half the image is left."""
    image = np.zeros((4, 4), np.uint8)
    image[1:3, 1:3] = [[0, 102], [204, 255]]
    model = model_of(small_net(), 1, 4)
    found = attributions(model, np.stack([image, image]), np.array([0, 1]))
    # The map is [[0, 0.2], [0.4, 0.5]]; its values lie at 0.5 and 2.5 of the 4 pixels.
    shares = np.array([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    expected = shares @ np.array([[0, 0.2], [0.4, 0.5]]) @ shares.T
    np.testing.assert_allclose(found[0], expected, atol=1e-6)
    np.testing.assert_array_equal(found[1], np.zeros((4, 4)))  # all of it speaks against


class Linear(nn.Module):
    """Two classes by the weights (2, C, H, W)."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, images: Tensor) -> Tensor:
        return torch.einsum("nchw,kchw->nk", images, self.weights)


def test_integrated_gradients_are_exact_for_a_linear_model() -> None:
    generator = np.random.default_rng(0)
    weights = generator.normal(size=(2, 3, 5, 4)).astype(np.float32)
    images = generator.integers(0, 256, (70, 5, 4, 3), np.uint8)  # more than a batch
    targets = np.arange(70) % 2
    model = model_of(Linear(torch.from_numpy(weights)), 3, 5, mean=0.4)
    pixels = images.transpose(0, 3, 1, 2) / 255
    from_mean = pixels - pixels.mean(axis=(2, 3), keepdims=True)
    expected = (weights[targets] * from_mean).sum(axis=1)
    np.testing.assert_allclose(attributions(model, images, targets), expected, atol=1e-5)


def test_integrated_gradients_of_an_ffn_sum_to_the_difference_of_logits() -> None:
    torch.manual_seed(0)
    model = model_of(FFN((1, 6, 6), 2, hidden=[16]), 1, 6)
    images = np.random.default_rng(0).integers(0, 256, (3, 6, 6, 3), np.uint8)
    sums = attributions(model, images, np.array([1, 0, 1])).sum(axis=(1, 2))
    with torch.inference_mode():
        pixels = model.prepared(torch.from_numpy(images).permute(0, 3, 1, 2))
        flat = pixels.mean(dim=(2, 3), keepdim=True).expand_as(pixels)
        difference = (model.logits(pixels) - model.logits(flat)).numpy()
    np.testing.assert_allclose(sums, difference[[0, 1, 2], [1, 0, 1]], atol=1e-5)
    assert method_of(model) == "integrated_gradients"


def test_the_last_map() -> None:
    """Behind the activation and the shortcut; none of a transformer, nor a single place."""

    def wrapped(name: str, side: int, **options) -> tuple[TrainedModel, nn.Module]:
        net = torchvision.models.get_model(name, weights=None, num_classes=2, **options)
        backbone = Backbone(net, side, [0.0] * 3, [1.0] * 3)
        return model_of(backbone, 3, 28), net

    cnn, residual, small = CNN((1, 28, 28), 2), resnet18((1, 28, 28), 2), ResNet11((1, 28, 28), 2)
    assert _map_layer(model_of(cnn, 1, 28)) is cnn.layers[1]
    assert _map_layer(model_of(residual, 1, 28)) is residual.stages
    assert _map_layer(model_of(small, 1, 28)) is small.maps
    model, net = wrapped("mobilenet_v3_small", 64)
    assert _map_layer(model) is net.features
    model, net = wrapped("densenet121", 64)
    assert _map_layer(model) is net.features
    sizes = {"image_size": 32, "patch_size": 16, "num_layers": 1, "num_heads": 1}
    transformer = torchvision.models.VisionTransformer(
        **sizes, hidden_dim=8, mlp_dim=8, num_classes=2
    )
    model = model_of(Backbone(transformer, 32, [0.0] * 3, [1.0] * 3), 3, 28)
    assert method_of(model) == "integrated_gradients"
    images = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 3), np.uint8)
    assert attributions(model, images, np.array([0, 1])).shape == (2, 28, 28)


def test_overlay_colours_what_speaks_for_and_against() -> None:
    image = np.full((1, 3, 3), 100, np.uint8)
    found = overlay(image, np.array([[2.0, 0.0, -1.0]]))
    # Shares of the colours are 0.8, 0 and 0.4.
    assert found.tolist() == [[[204, 68, 20], [100, 100, 100], [60, 96, 148]]]
    assert overlay(image[..., 0], np.zeros((1, 3))).tolist() == [[[100] * 3] * 3]


def test_without_captum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum", None)
    model = model_of(small_net(), 1, 4)
    with pytest.raises(UserError, match=r"captum is missing: .*'dermaexp\[explain\]'"):
        attributions(model, np.zeros((1, 4, 4), np.uint8), np.array([0]))
