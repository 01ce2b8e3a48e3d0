"""The gray of RGB images, without torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from dermaexp.data.mapped import Images, Lazy, is_mapped

CHUNK = 256  # images


def luma(images: np.ndarray) -> np.ndarray:
    """Gray (N, H, W, 1) of RGB (N, H, W, 3) uint8: ITU-R 601, in the integers of PIL's "L"."""
    gray = np.empty((*images.shape[:3], 1), np.uint8)
    for start in range(0, len(images), CHUNK):  # 32-bit copies of all would fill the memory
        part = slice(start, start + CHUNK)
        red, green, blue = (images[part, ..., c].astype(np.uint32) for c in range(3))
        gray[part, ..., 0] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    return gray


class Gray(Lazy):
    """The gray of mapped RGB images."""

    def __init__(self, images: Images) -> None:
        super().__init__((*images.shape[:3], 1))
        self.images = images

    def __getitem__(self, index: Any, /) -> np.ndarray:
        taken = self.images[index]
        return luma(taken) if taken.ndim == 4 else luma(taken[None])[0]


def prepared(images: np.ndarray, grayscale: bool) -> np.ndarray:
    """Return the images (N, H, W, C) uint8 as the model gets them: made gray, or as they are."""
    return luma(images) if grayscale and images.shape[-1] == 3 else images


def prepared_lazily(images: Images, grayscale: bool) -> Images:
    """Return the same as `prepared`; mapped images stay where they are."""
    if isinstance(images, np.ndarray) and not is_mapped(images):
        return prepared(images, grayscale)
    return Gray(images) if grayscale and images.shape[-1] == 3 else images
