"""Which pixels speak for a class: attributions of a trained model, by Captum.

Grad-CAM (Selvaraju et al., 2017) where the model has a map of convolutions, and integrated
gradients (Sundararajan et al., 2017) where it has none.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dermaexp.core.extras import required
from dermaexp.data.gray import luma
from dermaexp.inference.trained import TrainedModel

BATCH = 64  # images, also of a step of the integral
STEPS = 50  # of the integral
POSITIVE, NEGATIVE = (230, 60, 0), (0, 90, 220)  # RGB of what speaks for and against the class
OPAQUE = 0.8  # the colour's share at the largest attribution


def attributions(model: TrainedModel, images: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return how much each pixel speaks for the class `targets` (N,) of its image, (N, H, W).

    `images` (N, H, W) or (N, H, W, C) are uint8 of the model's size. Explains the logit of the
    image as it is, without test-time views. Grad-CAM is never negative; integrated gradients sum to
    the logit minus that of a flat image of the same mean colour. Raises UserError without Captum.
    """
    required("captum", "explain")
    if len(images) == 0:
        return np.empty(images.shape[:3], np.float32)
    net = _Logits(model)
    layer = _map_layer(model)
    device = model.mean.device
    found = []
    for start in range(0, len(images), BATCH):
        part = torch.from_numpy(images[start : start + BATCH])
        batch = part.unsqueeze(1) if part.ndim == 3 else part.permute(0, 3, 1, 2)
        pixels = model.prepared(batch.to(device)).requires_grad_()
        labels = torch.from_numpy(np.asarray(targets[start : start + BATCH], np.int64)).to(device)
        with torch.enable_grad(), warnings.catch_warnings(action="ignore"):
            if layer is None:
                answer = _integrated_gradients(net, pixels, labels)
            else:
                answer = _grad_cam(net, layer, pixels, labels)
        found.append(answer.numpy(force=True))
    return np.concatenate(found)


def method_of(model: TrainedModel) -> str:
    """Return the method of `attributions`: "grad_cam" or "integrated_gradients"."""
    return "integrated_gradients" if _map_layer(model) is None else "grad_cam"


def overlay(image: np.ndarray, attribution: np.ndarray) -> np.ndarray:
    """Return the image in gray, coloured where pixels speak for (red) or against (blue) the class.

    `image` (H, W) or (H, W, C) is uint8, `attribution` (H, W); the result is RGB (H, W, 3) uint8.
    The strongest pixel has the full colour.
    """
    gray = image if image.ndim == 2 else image[..., 0]
    if image.shape[2:] == (3,):
        gray = luma(image[None])[0, ..., 0]
    share = OPAQUE * scaled(attribution[None])[0][..., None]
    color = np.where(share < 0, NEGATIVE, POSITIVE)
    mixed = gray[..., None] * (1 - abs(share)) + color * abs(share)
    return mixed.round().astype(np.uint8)


def scaled(maps: np.ndarray) -> np.ndarray:
    """Return the maps (N, H, W), each divided by its largest absolute value; zeros stay zeros."""
    largest = np.abs(maps).max(axis=(1, 2), keepdims=True)
    return np.divide(maps, largest, out=np.zeros_like(maps), where=largest > 0)


class _Logits(nn.Module):
    """The model from images in [0, 1] to logits, as Captum calls it."""

    def __init__(self, model: TrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model.logits(pixels)


def _grad_cam(net: nn.Module, layer: nn.Module, pixels: Tensor, labels: Tensor) -> Tensor:
    from captum.attr import LayerAttribution, LayerGradCam

    found: Any = LayerGradCam(net, layer).attribute(pixels, labels, relu_attributions=True)
    size = (pixels.shape[2], pixels.shape[3])
    return LayerAttribution.interpolate(found, size, "bilinear")[:, 0]


def _integrated_gradients(net: nn.Module, pixels: Tensor, labels: Tensor) -> Tensor:
    from captum.attr import IntegratedGradients

    # Black would leave dark pixels, such as a lesion's, without any attribution.
    flat = pixels.detach().mean(dim=(2, 3), keepdim=True).expand_as(pixels)
    found: Any = IntegratedGradients(net).attribute(
        pixels, flat, labels, n_steps=STEPS, internal_batch_size=BATCH
    )
    return found.sum(dim=1)


def _map_layer(model: TrainedModel) -> nn.Module | None:
    """Return the module whose output is the last feature map, None for a model without one.

    That is the last one, in the order in which modules end, with as many places as the last
    convolution that has several: so what follows the convolution, such as its activation or the
    rest of a residual stage, counts too.
    """
    if not any(_overlaps(module) for module in model.net.modules()):
        return None
    ended = list(_outputs(model))
    sizes = [shape[2:] for module, shape in ended if isinstance(module, nn.Conv2d)]
    size = next((size for size in reversed(sizes) if size.numel() > 1), None)
    return next((module for module, shape in reversed(ended) if shape[2:] == size), None)


def _overlaps(module: nn.Module) -> bool:
    """Whether it is a convolution, not the cutting of an image into a transformer's patches."""
    if not isinstance(module, nn.Conv2d):
        return False
    return any(side > step for side, step in zip(module.kernel_size, module.stride, strict=True))


def _outputs(model: TrainedModel) -> Iterator[tuple[nn.Module, torch.Size]]:
    """Yield each module with the shape (1, C, H, W) of its output, in the order of their ends."""
    ended: list[tuple[nn.Module, torch.Size]] = []

    def keep(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            ended.append((module, output.shape))

    hooks = [module.register_forward_hook(keep) for module in model.net.modules()]
    try:
        with torch.inference_mode():
            model.logits(torch.zeros(1, *model.image_shape, device=model.mean.device))
    finally:
        for hook in hooks:
            hook.remove()
    yield from ended
