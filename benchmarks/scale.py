"""What an epoch, memory and the first batch cost by the number of images and their size.

Gray noise, 80 % train and 10 % val, as an uncompressed npz, held in memory or mapped
(dataset.max_resident_gb=0). Each side runs in a process of its own: it loads the file, computes its
fingerprints as a run does, takes a batch, and trains an FFN with batches of 1,024. The epochs after
the first count: three, or one above 0.4 GB; above 2 GB a single epoch is trained, mapped only.

The file was just written: the system has it in memory where it fits. "GB" is the peak of what the
process holds beyond its imports and beyond mapped files, which the system may take back: RssAnon +
RssShmem of /proc/self/status, every 5 ms.

SCALE=10000000x28 python -m benchmarks scale measures ten million images of 28 px and keeps the
other rows. Their file takes 7.84 GB in the system's temporary folder (TMPDIR).
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

from benchmarks.measure import RESULTS, Spread, Table
from dermaexp.launch.command import VARIABLES

DEFAULT = "10000x28 100000x28 1000000x28 10000x64 10000x128 10000x224"  # images x pixels
BATCH_SIZE = 1024
MOST_RESIDENT = 2e9  # bytes
SIDES = {"in memory": 1e6, "mapped": 0.0}  # max_resident_gb
BLOCK = 2**24  # bytes written at once
SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}
CLASSES = 7


HEADINGS = ("s to the first batch", "s an epoch", "GB")


class Measured(NamedTuple):
    """Seconds to the first batch and of an epoch, and GB of memory at its peak."""

    first_batch: list[float]
    epoch: list[float]
    peak: list[float]


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

    from dermaexp.core.processes import end_with_parent
    from dermaexp.data.datamodule import ImageDataModule
    from dermaexp.data.load import load_splits
    from dermaexp.models.ffn import FFN
    from dermaexp.training.callbacks import History
    from dermaexp.training.classifier import Classifier

    end_with_parent()
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    source = {"_target_": "dermaexp.data.npz.load", "path": str(file), "grayscale": True}
    size = file.stat().st_size
    epochs = 4 if size < 4e8 else 2 if size < MOST_RESIDENT else 1
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
            max_epochs=epochs,
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
    seconds = [own["seconds"] for own in history.rows]
    return Measured([first_batch], seconds[1:] or seconds, [peak[0] - before])


def row(images: int, size: int) -> dict[str, Any]:
    """Measure both sides of one file."""
    pixels = images * size * size
    found: dict[str, Any] = {"images": images, "px": size, "GB of pixels": pixels / 1e9}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "noise.npz"
        write_npz(file, images, size)
        for side, limit in SIDES.items():
            if limit and pixels > MOST_RESIDENT:
                continue
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                own = pool.apply(measured, (file, limit))
            for heading, value in zip(HEADINGS, own, strict=True):
                found[f"{heading}, {side}"] = Spread(value, digits=3)
    return found


def earlier() -> list[dict[str, Any]]:
    """Return the rows of the results file."""
    try:
        rows = json.loads((RESULTS / "scale.json").read_text())["tables"][0]["rows"]
    except FileNotFoundError:
        return []
    return [
        {
            key: Spread(value, digits=3) if isinstance(value, list) else value
            for key, value in row.items()
        }
        for row in rows
    ]


def plot(rows: list[dict[str, Any]], file: Path) -> None:
    """Plot each heading against the GB of pixels, a line for each side and kind of row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4), layout="constrained")
    for axes, heading in zip(figure.subplots(1, len(HEADINGS)), HEADINGS, strict=True):
        for side, marker in zip(SIDES, "os", strict=True):
            key = f"{heading}, {side}"
            own = [found for found in rows if key in found]
            by_count = [found for found in own if found["px"] == 28]
            by_size = [found for found in own if found["images"] == 10_000]
            for kind, line, style in (
                ("more images of 28 px", by_count, "-"),
                ("10,000 images of more px", by_size, "--"),
            ):
                points = [(found["GB of pixels"], found[key].median) for found in line]
                axes.loglog(*zip(*points, strict=True), marker + style, label=f"{side}, {kind}")
        axes.set(xlabel="GB of pixels", title=heading)
        axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(file, dpi=110)


def measure() -> list[Table]:
    os.environ.update(VARIABLES)  # of every run: threads that wait for each other do not spin
    cases = os.environ.get("SCALE", DEFAULT).split()
    rows = {(own["images"], own["px"]): own for own in earlier()}
    for images, _, size in (case.partition("x") for case in cases):
        rows[int(images), int(size)] = row(int(images), int(size))
    ordered = sorted(rows.values(), key=lambda own: (own["px"], own["images"]))
    plot(ordered, RESULTS / "scale.png")
    return [Table("FFN, batches of 1,024, gray", ordered)]
