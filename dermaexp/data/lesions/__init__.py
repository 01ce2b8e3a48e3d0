"""Dermoscopy-like synthetic images with the classes and counts of DermaMNIST.

The bytes depend on size and seed alone, not on the machine or the number of threads: see fields
for how. The same seed shows the same lesions at every size.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dermaexp.data.lesions.fields import Stream
from dermaexp.data.lesions.scene import Scene

__all__ = ["CLASSES", "CLASS_COUNTS", "VERSION", "generate_lesions", "generate_splits"]

CLASSES = (
    "actinic keratoses and intraepithelial carcinoma",
    "basal cell carcinoma",
    "benign keratosis-like lesions",
    "dermatofibroma",
    "melanoma",
    "melanocytic nevi",
    "vascular lesions",
)
CLASS_COUNTS = {
    "train": (228, 359, 769, 80, 779, 4693, 99),
    "val": (33, 52, 110, 12, 111, 671, 14),
    "test": (66, 103, 220, 23, 223, 1341, 29),
}
VERSION = 1  # part of the cache's name: raise it when the bytes change

CHUNK = 256  # images that share one random stream: changing it changes the bytes
PIXELS = 1 << 17  # painted at once, so that a plane stays in cache: free to change


def _ignore(_: int) -> None:
    pass


def generate_splits(
    size: int = 28, seed: int = 0, workers: int = 2, progress: Callable[[int], object] = _ignore
) -> dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """All splits: name -> (images (N, size, size, 3) uint8, shuffled labels (N,) uint8).

    Calls `progress` with the number of images of each part that is ready.
    """
    splits = {}
    for number, (name, counts) in enumerate(CLASS_COUNTS.items()):
        labels = np.repeat(np.arange(len(counts), dtype=np.uint8), counts)
        keys = np.random.Philox(key=_key(seed, number, 0xFFFFFFFF)).random_raw(len(labels))
        labels = labels[np.argsort(keys, kind="stable")]
        images = generate_lesions(labels, size, seed, number, workers, progress)
        splits[name] = images, labels
    return splits


def generate_lesions(
    labels: ArrayLike,
    size: int = 28,
    seed: int = 0,
    stream: int = 0,
    workers: int = 2,
    progress: Callable[[int], object] = _ignore,
) -> NDArray[np.uint8]:
    """An image for each label in 0..6: (N, size, size, 3) uint8, size at least 8.

    Each split needs its own `stream`, which gives other images of the same seed.
    """
    labels = np.asarray(labels, dtype=np.intp)
    if labels.ndim != 1 or (labels.size and not 0 <= labels.min() <= labels.max() < len(CLASSES)):
        raise ValueError(f"labels must be a flat sequence of 0..{len(CLASSES) - 1}")
    if size < 8:
        raise ValueError(f"size must be at least 8, got {size}")
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"seed must be in 0..2**64 - 1, got {seed}")
    images = np.empty((len(labels), size, size, 3), np.uint8)

    def generate(chunk: int) -> int:
        part = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        _generate_chunk(images[part], labels[part], _key(seed, stream, chunk))
        return len(labels[part])

    with ThreadPoolExecutor(workers) as pool:
        for count in pool.map(generate, range(-(-len(labels) // CHUNK))):
            progress(count)
    return images


def _key(seed: int, stream: int, chunk: int) -> NDArray[np.uint64]:
    return np.array([seed, (stream << 32) + chunk], dtype=np.uint64)


def _generate_chunk(
    images: NDArray[np.uint8], labels: NDArray[np.intp], key: NDArray[np.uint64]
) -> None:
    """Fill images (n, size, size, 3)."""
    n, size = images.shape[:2]
    stream = Stream(key, n)
    scene = Scene(stream, labels)
    grain = stream.grain(size)
    pixel = 2.0 / size
    x = (np.arange(size, dtype=np.float32) + 0.5) * pixel - 1.0
    rows = max(1, PIXELS // (size * n))
    for top in range(0, size, rows):
        part = slice(top, top + rows)
        noise = grain[part].astype(np.float32)
        # From -1.5 to 2.5: noise of two grey levels either way, and a half to round.
        noise *= 4.0 / 256.0
        noise -= 1.5
        for channel, plane in enumerate(scene.paint(x[part], x, pixel)):
            plane *= 255.0
            plane += noise
            np.clip(plane, 0.0, 255.0, out=plane)
            images[:, part, :, channel] = plane.astype(np.uint8).transpose(2, 0, 1)
