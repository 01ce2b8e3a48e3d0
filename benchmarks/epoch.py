"""What does an epoch (train and val) cost beside the shortest loop? python -m benchmarks epoch

All sides train on the same synthetic images, grayscale 28 px, with Adam and batch 64, each in a new
process:
  best loop    a plain torch loop over the uint8 tensors, optimizer fused, and channels_last where
               that makes it faster: the floor for any framework
  kept memory  the best loop where freed memory stays in the process, as in dermaexp
  plain loop   the best loop with torch's defaults
  dermaexp     the command as shipped: bar, history, metrics and both checkpoints
  MedMNIST     medmnist.DermaMNIST, torchvision transforms and a DataLoader, image by image, as
               MedMNIST's own training script reads its data
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from medmnist import DermaMNIST
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torchvision import transforms

from benchmarks.measure import Spread, Table, alternate, compared
from dermaexp.core import allocator
from dermaexp.data import synthetic
from dermaexp.data.datamodule import ImageDataModule
from dermaexp.data.splits import SPLITS
from dermaexp.metrics.classification import macro_auroc
from dermaexp.models.cnn import CNN
from dermaexp.models.ffn import FFN
from dermaexp.models.resnet11 import ResNet11

BATCH_SIZE = 64
USED = ("train", "val")
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
    """Writes when each epoch started: between two of them stands all that an epoch costs."""

    changes_numbers = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.seconds.append(time.perf_counter())

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        Path(trainer.default_root_dir, "starts.json").write_text(json.dumps(self.seconds))


def shipped(name: str) -> float:
    """Return the seconds of an epoch of the command, in a terminal that nobody sees."""
    measured = MODELS[name]
    limits = [f"+trainer.limit_{split}_batches={measured.share}" for split in USED]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "dermaexp", f"model={name}", "dataset=synthetic"),
            *("trainer=cpu", "report=false", "callbacks=no_figures"),
            *("+callbacks.starts._target_=benchmarks.epoch.Starts", f"hydra.run.dir={folder}"),
            *(f"epochs={measured.epochs + 2}", *limits),
        ]
        environment = {**os.environ, "TTY_COMPATIBLE": "1"}  # for the bar, wherever this runs
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        starts = json.loads(Path(folder, "starts.json").read_text())
    return (starts[-1] - starts[1]) / measured.epochs


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


def bare(name: str, layout: torch.memory_format, keep: bool = False, **options: Any) -> float:
    """Return the seconds of an epoch of a loop over resident tensors."""
    measured = MODELS[name]
    if keep:
        allocator.keep_freed_memory()
    data = ImageDataModule(
        synthetic.load(),
        batch_size=BATCH_SIZE,
        grayscale=True,
        seed=0,
        limits=dict.fromkeys(USED, measured.share),
    )
    model = measured.build((1, 28, 28), 7).to(memory_format=layout)
    batches = (tensor_batches(data, split, layout) for split in USED)
    return loop(model, *batches, measured.epochs, **options)


def medmnist(name: str, root: Path) -> float:
    """Return the seconds of an epoch of a loop that loads image by image."""
    batches = (medmnist_batches(root, split) for split in USED)
    return loop(MODELS[name].build((1, 28, 28), 7), *batches, epochs=1, warm_up=0)


def alone(side: Callable[[], float]) -> float:
    """Call a side in a process of its own: another one leaves its allocator as it was."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(side).result()


def sides(name: str, root: Path) -> dict[str, Callable[[], float]]:
    measured = MODELS[name]
    fast = torch.channels_last if measured.channels_last else torch.contiguous_format
    loops = {
        "best loop": functools.partial(bare, name, fast, fused=True),
        "kept memory": functools.partial(bare, name, fast, keep=True, fused=True),
        "plain loop": functools.partial(bare, name, torch.contiguous_format),
    }
    if measured.share == 1:
        loops["MedMNIST"] = functools.partial(medmnist, name, root)
    found = {side: functools.partial(alone, seconds) for side, seconds in loops.items()}
    return {**found, "dermaexp": functools.partial(shipped, name)}


def measure() -> list[Table]:
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
            images = [round(measured.share * len(splits[split].labels)) for split in USED]
            title = f"{name}: seconds of an epoch, {images[0]:,} train and {images[1]:,} val images"
            found = alternate(sides(name, root), measured.rounds, warm_up=False)
            spreads = {side: Spread(spread.values, 3) for side, spread in found.items()}
            tables.append(Table(title, compared(spreads, "best loop")))
    return tables
