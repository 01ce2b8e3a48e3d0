"""A dataset: arguments in, Splits out."""

import numpy as np

from dermaexp.data.splits import Splits, checked_splits

SIZE = 28  # pixels


def load(images: int, noise: int) -> Splits:
    """Bright discs and rings at random places, with noise; `images` for training."""
    generator = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", images), ("val", images // 4), ("test", images // 4)):
        labels = np.arange(count) % 2
        pictures = [_picture(label, generator) for label in labels]
        noisy = np.stack(pictures) + generator.integers(0, noise + 1, (count, SIZE, SIZE))
        arrays[split] = noisy.astype(np.uint8), labels
    return checked_splits("shapes", ("disc", "ring"), arrays, origin="own.dataset.load")


def _picture(label: int, generator: np.random.Generator) -> np.ndarray:
    rows, columns = np.mgrid[:SIZE, :SIZE] - generator.integers(8, SIZE - 8, (2, 1, 1))
    distance, radius = np.hypot(rows, columns), generator.integers(5, 8)
    return 100 * ((distance < radius) & (distance >= label * (radius - 2)))
