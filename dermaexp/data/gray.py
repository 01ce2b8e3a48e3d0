"""The gray of RGB images, without torch."""

from __future__ import annotations

import numpy as np

CHUNK = 256  # images


def luma(images: np.ndarray) -> np.ndarray:
    """Gray (N, H, W, 1) of RGB (N, H, W, 3) uint8: ITU-R 601, in the integers of PIL's "L"."""
    gray = np.empty((*images.shape[:3], 1), np.uint8)
    for start in range(0, len(images), CHUNK):  # 32-bit copies of all would fill the memory
        part = slice(start, start + CHUNK)
        red, green, blue = (images[part, ..., c].astype(np.uint32) for c in range(3))
        gray[part, ..., 0] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    return gray


def prepared(images: np.ndarray, grayscale: bool) -> np.ndarray:
    """Return the images (N, H, W, C) uint8 as the model gets them: made gray, or as they are."""
    return luma(images) if grayscale and images.shape[-1] == 3 else images
