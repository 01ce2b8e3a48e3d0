"""Small files of MedMNIST's sets, which pass for the real ones."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from dermaexp.data.medmnist_info import INFO

SAMPLES = {"train": 60, "val": 40, "test": 50}


def small_set(flag: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write FLAG.npz with images of 12 px, and let medmnist's table name its MD5.

    Each class is a strip of the image that is brighter; of several labels an image may show some.
    """
    generator = np.random.default_rng(0)
    classes, channels = len(INFO[flag]["label"]), INFO[flag]["n_channels"]
    arrays = {}
    for split, samples in SAMPLES.items():
        if INFO[flag]["task"].startswith("multi-label"):
            labels = shown = generator.random((samples, classes)) < 0.3
            labels[:classes] = np.eye(classes)  # each label is there
        else:
            labels = np.arange(samples)[:, None] % classes
            shown = labels == np.arange(classes)
        images = generator.integers(0, 60, (samples, 12, 12, 3))
        for place in range(classes):
            images[:, place % 12, :, place % 3] += 120 * shown[:, place, None]
        images = images if channels == 3 else images.max(axis=3)
        arrays[f"{split}_images"] = images.astype(np.uint8)
        arrays[f"{split}_labels"] = labels.astype(np.uint8)
    file = root / f"{flag}.npz"
    np.savez(file, **arrays)
    entry = INFO[flag] | {"MD5": hashlib.md5(file.read_bytes()).hexdigest()}
    monkeypatch.setitem(INFO, flag, entry)
    return file
