"""Augmentation of whole batches of training images, on their device."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dermaexp.core import rules
from dermaexp.training.config import AugmentConfig

LARGEST_ERASED_SIDE = 0.5  # of the image's


class Augment(nn.Module):
    """Turns, zooms, shifts, recolours, erases and mixes each image of a batch at random.

    Takes images (N, C, H, W) float in [0, 1] and targets (N,), and returns both; in a mixed batch
    targets are shares of the classes (N, K). Each image is mixed with the one before it, so that
    batches have to be in a random order. Uses torch's global generator.
    """

    def __init__(self, classes: int, **options: Any) -> None:
        """Takes the `options` of AugmentConfig, which change nothing by default.

        `dihedral`: one of the 8 flips and quarter turns, which cost no sharpness. `rotation`: up to
        so many degrees either way; `scale`: zoom by a factor up to exp(scale) either way; `shift`:
        up to this share of the side. All three mirror the image at its edges. `brightness`,
        `contrast`, `saturation`: factors from 1 - x to 1 + x. `erase`: the share of images that
        lose a rectangle (Zhong et al., AAAI 2020). `mixup`, `cutmix`: the shares of batches that
        are mixed (Zhang et al., ICLR 2018) or pasted into each other (Yun et al., ICCV 2019), with
        a share from Beta(`alpha`, `alpha`).
        """
        super().__init__()
        self.options = by = rules.check(AugmentConfig, options, "augment")
        self.mix = _mixing(by, classes) if by.mixup or by.cutmix else None
        self.changes = by != AugmentConfig(alpha=by.alpha)

    def forward(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if not self.changes:
            return images, targets
        # With bf16-mixed, a grid in bfloat16 would shift pixels.
        with torch.autocast(images.device.type, enabled=False):
            return self._changed(images, targets)

    def _changed(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        by = self.options
        if by.dihedral:
            images = random_dihedral(images)
        if by.rotation or by.scale or by.shift:
            images = random_affine(images, by.rotation, by.scale, by.shift)
        if by.brightness or by.contrast or by.saturation:
            images = random_colours(images, by.brightness, by.contrast, by.saturation)
        if by.erase:
            images = random_erasing(images, by.erase)
        return self.mix(images, targets) if self.mix else (images, targets)


def _mixing(by: AugmentConfig, classes: int) -> nn.Module:
    """Return what mixes a share of the batches by MixUp, another by CutMix."""
    from torchvision.transforms import v2  # slow to import, and few runs mix

    mixings = [mixing(alpha=by.alpha, num_classes=classes) for mixing in (v2.MixUp, v2.CutMix)]
    shares = [by.mixup, by.cutmix, max(0.0, 1 - by.mixup - by.cutmix)]
    return v2.RandomChoice([*mixings, v2.Identity()], p=shares)


def random_dihedral(images: Tensor) -> Tensor:
    """Flip and quarter-turn each image, all 8 ways (4 if not square) equally likely."""

    def some() -> Tensor:
        return torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5

    images = torch.where(some(), images.flip(3), images)
    images = torch.where(some(), images.flip(2), images)
    if images.shape[2] == images.shape[3]:
        images = torch.where(some(), images.transpose(2, 3), images)
    return images


def random_affine(images: Tensor, rotation: float, scale: float, shift: float) -> Tensor:
    """Turn, zoom and shift each image, bilinearly, mirrored at its edges."""
    angle = _uniform(images, -rotation, rotation) * (math.pi / 180)
    zoom = _uniform(images, -scale, scale).exp()
    down, right = (_uniform(images, -shift, shift) for _ in range(2))
    return warped(images, angle.cos() * zoom, angle.sin() * zoom, down, right)


def warped(images: Tensor, cos: Tensor, sin: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Sample each float image (N, C, H, W) on its own grid, bilinearly, mirrored at its edges.

    `cos` and `sin` (N,) of the angle are multiplied by the grid's step in pixels; `down` and
    `right` (N,) are the shift of the grid's centre, in shares of the side.
    """
    count, _, height, width = images.shape
    # grid_sample's coordinates run from -1 to 1 along each side, whatever its length.
    down, right = 2 * down, 2 * right
    rows = [cos, -sin * height / width, right, sin * width / height, cos, down]
    grid = functional.affine_grid(
        torch.stack(rows, dim=1).view(count, 2, 3), list(images.shape), align_corners=False
    )
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def random_colours(images: Tensor, brightness: float, contrast: float, saturation: float) -> Tensor:
    """Change brightness, contrast and saturation of each image; keep it in [0, 1]."""

    def factor(strength: float) -> Tensor:
        return _uniform(images, 1 - strength, 1 + strength).view(-1, 1, 1, 1)

    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = mean * factor(brightness) + (images - mean) * factor(contrast)
    gray = images.mean(dim=1, keepdim=True)
    return (gray + (images - gray) * factor(saturation)).clamp(0, 1)


def random_erasing(images: Tensor, probability: float) -> Tensor:
    """Fill a rectangle of a share of the images with their own mean colour."""
    height, width = images.shape[2:]
    inside_rows = _stretch(images, height)
    inside_columns = _stretch(images, width)
    chosen = (_uniform(images, 0, 1) < probability).view(-1, 1, 1)
    hole = inside_rows[:, :, None] & inside_columns[:, None, :] & chosen
    return torch.where(hole[:, None], images.mean(dim=(2, 3), keepdim=True), images)


def _stretch(images: Tensor, size: int) -> Tensor:
    """Return which of `size` places (N, size) lie in a random stretch of each image."""
    half = _uniform(images, 0, LARGEST_ERASED_SIDE * size / 2)
    centre = _uniform(images, 0, size)
    places = torch.arange(size, device=images.device) + 0.5
    return (places - centre[:, None]).abs() <= half[:, None]


def _uniform(images: Tensor, low: float, high: float) -> Tensor:
    """Return a random number for each image (N,)."""
    return torch.empty(len(images), device=images.device).uniform_(low, high)
