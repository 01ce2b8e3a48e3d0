"""What does an epoch (train and val) cost beside the shortest loop? python -m benchmarks epoch

All sides train on the same synthetic images, grayscale 28 px, with Adam and batch 64:
  best loop    a plain torch loop over the uint8 tensors, optimizer fused, and channels_last where
               that makes it faster: the floor for any framework
  plain loop   the same with torch's defaults
  dermaexp     as shipped: bar, history, metrics and both checkpoints
  MedMNIST     medmnist.DermaMNIST, torchvision transforms and a DataLoader, image by image, as
               MedMNIST's own training script reads its data
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from medmnist import DermaMNIST
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torchvision import transforms

import dermaexp
from benchmarks.measure import Spread, Table, alternate, compared
from dermaexp.core.console import console
from dermaexp.data import synthetic
from dermaexp.data.datamodule import ImageDataModule
from dermaexp.data.splits import SPLITS
from dermaexp.metrics.classification import macro_auroc
from dermaexp.models.cnn import CNN
from dermaexp.models.ffn import FFN
from dermaexp.models.resnet11 import ResNet11

BATCH_SIZE = 64
Batches = Callable[[], Iterator[tuple[Tensor, Tensor]]]


@dataclass(frozen=True)
class Measured:
    """A model, and how long a side trains it in a round, after one epoch that doesn't count."""

    build: Callable[..., nn.Module]
    epochs: int
    rounds: int
    share: float = 1.0  # of the images, where an epoch takes long
    channels_last: bool = False


MODELS = {
    "ffn": Measured(FFN, epochs=6, rounds=6),
    "cnn": Measured(CNN, epochs=2, rounds=4, channels_last=True),
    "resnet11": Measured(ResNet11, epochs=1, rounds=3, share=0.1, channels_last=True),
}


class Starts(Callback):
    """Notes when each epoch starts: between two of them stands all that an epoch costs."""

    changes_numbers = False
    seconds: ClassVar[list[float]] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 0:
            self.seconds.clear()
        self.seconds.append(time.perf_counter())


def shipped(name: str, measured: Measured) -> float:
    """Return the seconds of an epoch of a run, in a terminal that nobody sees."""
    limits = [f"+trainer.limit_{split}_batches={measured.share}" for split in ("train", "val")]
    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w") as nowhere:
        console.file = nowhere
        dermaexp.run(
            [
                *(f"model={name}", "dataset=synthetic", "trainer=cpu", "report=false"),
                *("callbacks=no_figures", "+callbacks.starts._target_=benchmarks.epoch.Starts"),
                *(f"epochs={measured.epochs + 2}", f"hydra.run.dir={folder}/run", *limits),
            ]
        )
        console.file = sys.stdout
    return (Starts.seconds[-1] - Starts.seconds[1]) / measured.epochs


def loop(
    model: nn.Module, train: Batches, val: Batches, epochs: int, warm_up: int = 1, **options: Any
) -> float:
    """Return the seconds of an epoch of a plain loop over (float images, targets) batches."""
    optimizer = torch.optim.Adam(model.parameters(), **options)
    for epoch in range(-warm_up, epochs):
        if epoch == 0:
            started = time.perf_counter()
        model.train()
        for images, targets in train():
            optimizer.zero_grad()
            cross_entropy(model(images), targets).backward()
            optimizer.step()
        model.eval()
        with torch.inference_mode():
            parts = [(targets, model(images).softmax(dim=1)) for images, targets in val()]
        targets, probabilities = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
        macro_auroc(targets, probabilities)
    return (time.perf_counter() - started) / epochs


def tensor_batches(data: ImageDataModule, split: str, layout: torch.memory_format) -> Batches:
    images, labels, _ = data.images[split][torch.from_numpy(data.used[split])]

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(labels)) if split == "train" else torch.arange(len(labels))
        for indices in order.split(BATCH_SIZE):
            yield images[indices].float().div(255).to(memory_format=layout), labels[indices]

    return batches


def medmnist_batches(root: Path, split: str) -> Batches:
    prepare = transforms.Compose([transforms.Grayscale(), transforms.ToTensor()])
    loader = DataLoader(
        DermaMNIST(split=split, transform=prepare, root=str(root)),
        batch_size=BATCH_SIZE,
        shuffle=split == "train",
    )
    return lambda: ((images, targets.squeeze(1)) for images, targets in loader)


def sides(name: str, measured: Measured, data: ImageDataModule, root: Path) -> dict[str, Callable]:
    def bare(layout: torch.memory_format, **options: Any) -> float:
        model = measured.build((1, 28, 28), 7).to(memory_format=layout)
        batches = (tensor_batches(data, split, layout) for split in ("train", "val"))
        return loop(model, *batches, measured.epochs, **options)

    def medmnist() -> float:
        batches = (medmnist_batches(root, split) for split in ("train", "val"))
        return loop(measured.build((1, 28, 28), 7), *batches, epochs=1, warm_up=0)

    fast = torch.channels_last if measured.channels_last else torch.contiguous_format
    found: dict[str, Callable] = {
        "best loop": lambda: bare(fast, fused=True),
        "plain loop": lambda: bare(torch.contiguous_format),
        "dermaexp": lambda: shipped(name, measured),
    }
    return found if measured.share < 1 else {**found, "MedMNIST": medmnist}


def measure() -> list[Table]:
    os.environ["TTY_COMPATIBLE"] = "1"  # for the bar, wherever this runs
    # Lightning's import sets it, and Adam then loads NVIDIA's library at each step of a loop, too.
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    splits = synthetic.load()
    tables = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        arrays = {f"{s}_images": splits[s].images for s in SPLITS}
        arrays |= {f"{s}_labels": splits[s].labels[:, None] for s in SPLITS}
        np.savez(root / "dermamnist.npz", **arrays)
        for name, measured in MODELS.items():
            data = ImageDataModule(
                splits,
                batch_size=BATCH_SIZE,
                grayscale=True,
                seed=0,
                limits=dict.fromkeys(("train", "val"), measured.share),
            )
            images = [len(data.used[split]) for split in ("train", "val")]
            found = alternate(sides(name, measured, data, root), measured.rounds, warm_up=False)
            title = f"{name}: seconds of an epoch, {images[0]:,} train and {images[1]:,} val images"
            spreads = {side: Spread(spread.values, 3) for side, spread in found.items()}
            tables.append(Table(title, compared(spreads, "best loop")))
    return tables
