"""Time an epoch (train and val) against two baselines: python benchmarks/epoch.py

Baselines, in the same process, on the same synthetic images, model, optimizer and batch size:
  bare loop   the shortest torch loop over the same uint8 tensors: the floor for any framework
  MedMNIST    medmnist.DermaMNIST with torchvision transforms and a DataLoader, image by image,
              as MedMNIST's own training script reads its data
"""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytorch_lightning as lightning
import torch
from medmnist import DermaMNIST
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torchvision import transforms

from dermaexp.data import synthetic
from dermaexp.data.datamodule import ImageDataModule
from dermaexp.metrics.classification import macro_auroc
from dermaexp.models.cnn import CNN
from dermaexp.models.ffn import FFN
from dermaexp.training.callbacks import History
from dermaexp.training.classifier import Classifier

EPOCHS = 4  # the first is a warm-up
BATCH_SIZE = 64


def dermaexp_epochs(model: nn.Module, data: ImageDataModule) -> list[float]:
    """Return the seconds of each epoch, as in history.csv."""
    history = History()
    with tempfile.TemporaryDirectory() as folder:
        trainer = lightning.Trainer(
            max_epochs=EPOCHS,
            accelerator="cpu",
            callbacks=[history],
            default_root_dir=folder,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(Classifier(model, torch.optim.Adam), data)
    return [row["seconds"] for row in history.rows]


def loop_epochs(model: nn.Module, train: Callable, val: Callable) -> list[float]:
    """Return the seconds of each epoch of a plain loop over (float images, targets) batches."""
    optimizer = torch.optim.Adam(model.parameters())
    seconds = []
    for _ in range(EPOCHS):
        started = time.perf_counter()
        for images, targets in train():
            optimizer.zero_grad()
            cross_entropy(model(images), targets).backward()
            optimizer.step()
        with torch.inference_mode():
            parts = [(targets, model(images).softmax(dim=1)) for images, targets in val()]
        targets, probabilities = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
        macro_auroc(targets, probabilities)
        seconds.append(time.perf_counter() - started)
    return seconds


def tensor_batches(data: ImageDataModule, split: str, shuffle: bool) -> Callable:
    images, labels, _ = data.images[split][torch.arange(len(data.images[split]))]

    def batches():
        order = torch.randperm(len(labels)) if shuffle else torch.arange(len(labels))
        for indices in order.split(BATCH_SIZE):
            yield images[indices].float() / 255, labels[indices]

    return batches


def medmnist_batches(root: Path, split: str, shuffle: bool) -> Callable:
    prepare = transforms.Compose([transforms.Grayscale(), transforms.ToTensor()])
    loader = DataLoader(
        DermaMNIST(split=split, transform=prepare, root=str(root)),
        batch_size=BATCH_SIZE,
        shuffle=shuffle,
    )
    return lambda: ((images, targets.squeeze(1)) for images, targets in loader)


def main() -> None:
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    splits = synthetic.load()
    data = ImageDataModule(splits, batch_size=BATCH_SIZE, grayscale=True, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        arrays = {f"{s}_images": splits[s].images for s in ("train", "val", "test")}
        arrays |= {f"{s}_labels": splits[s].labels[:, None] for s in ("train", "val", "test")}
        np.savez(root / "dermamnist.npz", **arrays)
        print(f"{'model':5} {'method':10} {'s per epoch':>11} {'x bare loop':>12}")
        for model_class in (FFN, CNN):
            ways = {
                "bare loop": lambda model: loop_epochs(
                    model, tensor_batches(data, "train", True), tensor_batches(data, "val", False)
                ),
                "dermaexp": lambda model: dermaexp_epochs(model, data),
                "MedMNIST": lambda model: loop_epochs(
                    model,
                    medmnist_batches(root, "train", True),
                    medmnist_batches(root, "val", False),
                ),
            }
            seconds = {
                way: statistics.median(run(model_class((1, 28, 28), 7))[1:])
                for way, run in ways.items()
            }
            for way, value in seconds.items():
                ratio = value / seconds["bare loop"]
                print(f"{model_class.__name__.lower():5} {way:10} {value:11.2f} {ratio:12.2f}")


if __name__ == "__main__":
    main()
