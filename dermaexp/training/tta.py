"""Test-time augmentation: the views of an image whose probabilities are averaged."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dermaexp.training.augment import warped

ZOOMS = (1 / 1.15, 1.0, 1.15)


def as_they_are(images: Tensor) -> list[Tensor]:
    """Return the images alone."""
    return [images]


def dihedral(images: Tensor) -> list[Tensor]:
    """Return the flips and quarter turns of images (N, C, H, W): 8 of square ones, else 4."""
    views = [images, images.flip(3), images.flip(2), images.flip((2, 3))]
    if images.shape[2] == images.shape[3]:
        views += [view.transpose(2, 3) for view in views]
    return views


def dihedral_zoom(images: Tensor) -> list[Tensor]:
    """Return the same of float images at each of ZOOMS: 24 of square ones, else 12."""
    return [view for zoom in ZOOMS for view in dihedral(zoomed(images, zoom))]


def zoomed(images: Tensor, zoom: float) -> Tensor:
    """Enlarge float images (N, C, H, W) by `zoom`; below 1, mirror their edges outwards."""
    if zoom == 1:
        return images
    count = images.shape[0]  # any in an exported model, where len() would fix it
    step, zero = (torch.full((count,), x, device=images.device) for x in (1 / zoom, 0.0))
    # With bf16-mixed, places in bfloat16 would shift pixels.
    with torch.autocast(images.device.type, enabled=False):
        return warped(images, step, zero, zero, zero)


VIEWS: dict[str, Callable[[Tensor], list[Tensor]]] = {  # by test_time_augment
    "none": as_they_are,
    "dihedral": dihedral,
    "dihedral_zoom": dihedral_zoom,
}
