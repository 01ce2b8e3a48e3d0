"""Measure how long pictures take to become splits: python -m benchmarks decode

10,015 synthetic JPEG files of 200 x 150 pixels, at 224 pixels; each in a process of its own.
Baseline: Pillow, image by image, and np.stack.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
from omegaconf import OmegaConf
from PIL import Image, ImageOps

from benchmarks.measure import Table

PICTURES, SIZE = 10_015, 224


def write_pictures(folder: Path) -> None:
    generator = np.random.default_rng(0)
    for number in range(PICTURES):
        coarse = Image.fromarray(generator.integers(0, 256, (15, 20, 3), np.uint8))
        file = folder / "ab"[number % 2] / f"{number}.jpg"
        file.parent.mkdir(exist_ok=True)
        coarse.resize((200, 150), Image.Resampling.BICUBIC).save(file, quality=85)


def one_by_one(folder: Path) -> int:
    images = []
    for file in sorted(folder.glob("*/*.jpg")):
        with Image.open(file) as image:
            fitted = ImageOps.fit(image.convert("RGB"), (SIZE, SIZE), Image.Resampling.BILINEAR)
            images.append(np.asarray(fitted))
    return np.stack(images).nbytes


def dermaexp(folder: Path) -> int:
    from dermaexp.data.load import load_splits

    target = {"_target_": "dermaexp.data.folder.load", "path": str(folder), "size": SIZE}
    splits = load_splits(OmegaConf.create(target | {"grayscale": False, "normalize": False}))
    return sum(splits[split].images.nbytes for split in ("train", "val", "test"))


def measured(work: Callable[[Path], int], folder: Path) -> tuple[float, float, float]:
    """Seconds, GB of pixels and peak GB of memory of `work` in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (work, folder))


def _measured(work: Callable[[Path], int], folder: Path) -> tuple[float, float, float]:
    start = time.perf_counter()
    pixels = work(folder)
    seconds = time.perf_counter() - start
    return seconds, pixels / 1e9, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def measure() -> list[Table]:
    rows = []
    with (
        tempfile.TemporaryDirectory() as place,
        mock.patch.dict(os.environ, XDG_CACHE_HOME=f"{place}/cache"),
    ):
        folder = Path(place) / "pictures"
        folder.mkdir()
        write_pictures(folder)
        measured(one_by_one, folder)  # reads the files into the page cache
        baseline = None
        for name, work in (
            ("image by image", one_by_one),
            ("dermaexp, first start", dermaexp),
            ("dermaexp, second start", dermaexp),
        ):
            seconds, pixels, peak = measured(work, folder)
            baseline = baseline or seconds
            rows.append(
                {
                    "": name,
                    "s": round(seconds, 2),
                    "x image by image": round(seconds / baseline, 2),
                    "GB of pixels": round(pixels, 2),
                    "peak GB": round(peak, 2),
                }
            )
    return [Table(f"{PICTURES:,} pictures at {SIZE} pixels", rows, "one round")]
