"""What an epoch, memory and the first batch cost by the number of images and their size.

Synthetic gray noise, 80 % train and 10 % val, as an uncompressed npz: held in memory, and mapped
(dataset.max_resident_gb=0). Each side runs in a process of its own: it loads the file, computes its
fingerprints as a run does, takes a batch, and trains an FFN for two epochs, of which the second
counts. Memory is what the process holds beyond its imports and beyond mapped files, which the
system may take back: RssAnon + RssShmem of /proc/self/status, looked at every 5 ms.

SCALE_IMAGES="1e7" python -m benchmarks scale measures that number of images and keeps the other
rows; the file takes 784 bytes an image in SCALE_FOLDER, by default the system's temporary folder.
Above 2 GB of pixels only the mapped side runs.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import tempfile
import threading
import time
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.measure import RESULTS, Table

BATCH_SIZE = 1024
MOST_RESIDENT = 2e9  # bytes
SIDES = {"in memory": 1e6, "mapped": 0.0}  # max_resident_gb
BLOCK = 2**24  # bytes written at once
SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}
CLASSES = 7


class Measured(NamedTuple):
    """Seconds to the first batch and of an epoch, and GB of memory at its peak."""

    first_batch: float
    epoch: float
    peak: float


def write_npz(file: Path, images: int, size: int) -> None:
    """Write gray noise as an uncompressed npz, a block at a time."""
    generator = np.random.default_rng(0)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for split, share in SHARES.items():
            count = round(share * images)
            labels = generator.integers(0, CLASSES, count, np.uint8)
            with archive.open(f"{split}_labels.npy", "w") as member:
                np.lib.format.write_array(member, labels)
            with archive.open(f"{split}_images.npy", "w", force_zip64=True) as member:
                header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size)}
                np.lib.format.write_array_header_1_0(member, header)
                left = count * size * size
                while left:
                    member.write(generator.bytes(min(BLOCK, left)))
                    left -= min(BLOCK, left)


def held() -> float:
    """Return the GB that this process holds, mapped files left out."""
    lines = Path("/proc/self/status").read_text().splitlines()
    sizes = dict(line.split(":") for line in lines if line.startswith(("RssAnon", "RssShmem")))
    return sum(int(size.split()[0]) for size in sizes.values()) * 1024 / 1e9


@contextmanager
def watched() -> Iterator[list[float]]:
    """Give a list with the peak of `held`."""
    peak, done = [held()], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            peak[0] = max(peak[0], held())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def measured(file: Path, max_resident_gb: float) -> Measured:
    """Load, take a batch and train, in this process."""
    import pytorch_lightning as lightning
    import torch
    from omegaconf import OmegaConf

    from dermaexp.data.datamodule import ImageDataModule
    from dermaexp.data.load import load_splits
    from dermaexp.models.ffn import FFN
    from dermaexp.training.callbacks import History
    from dermaexp.training.classifier import Classifier

    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    source = {"_target_": "dermaexp.data.npz.load", "path": str(file), "grayscale": True}
    before = held()
    with watched() as peak, tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        splits = load_splits(OmegaConf.create(source | {"max_resident_gb": max_resident_gb}))
        assert splits.fingerprint != splits.test_fingerprint
        data = ImageDataModule(splits, batch_size=BATCH_SIZE, grayscale=True, seed=0)
        next(iter(data.train_dataloader()))
        first_batch = time.perf_counter() - started
        history = History()
        trainer = lightning.Trainer(
            max_epochs=2,
            accelerator="cpu",
            callbacks=[history],
            default_root_dir=folder,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        model = FFN(data.image_shape, CLASSES)
        trainer.fit(Classifier(model, torch.optim.Adam), data)
    return Measured(first_batch, history.rows[-1]["seconds"], peak[0] - before)


def row(images: int, size: int) -> dict[str, Any]:
    """Measure both sides of one file."""
    pixels = images * size * size
    found: dict[str, Any] = {"images": images, "px": size, "GB of pixels": pixels / 1e9}
    with tempfile.TemporaryDirectory(dir=os.environ.get("SCALE_FOLDER")) as folder:
        file = Path(folder) / "noise.npz"
        write_npz(file, images, size)
        for side, limit in SIDES.items():
            if limit and pixels > MOST_RESIDENT:
                continue
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                own = pool.apply(measured, (file, limit))
            found |= {f"{name.replace('_', ' ')}, {side}": v for name, v in own._asdict().items()}
    return found


def measure() -> list[Table]:
    chosen = [int(float(n)) for n in os.environ.get("SCALE_IMAGES", "1e4 1e5 1e6").split()]
    rows = [row(images, 28) for images in chosen]
    print(json.dumps(rows, indent=1), RESULTS)
    return [Table("scale", rows)]
