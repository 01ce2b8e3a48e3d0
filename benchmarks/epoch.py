"""An epoch of training and validation against two baselines: python benchmarks/epoch.py

Baselines, in the same process, on the same drawn images, net, optimizer and batch size:
  bare loop   the shortest torch loop over the same uint8 tensors; what no framework can beat
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

EPOCHS = 4  # the first is not counted
BATCH_SIZE = 64


def dermaexp_epochs(net: nn.Module, data: ImageDataModule) -> list[float]:
    """Seconds of each epoch as history.csv has them."""
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
        trainer.fit(Classifier(net, torch.optim.Adam), data)
    return [row["seconds"] for row in history.rows]


def loop_epochs(net: nn.Module, train: Callable, val: Callable) -> list[float]:
    """Seconds of each epoch of a plain loop over (float images, targets) batches."""
    optimizer = torch.optim.Adam(net.parameters())
    seconds = []
    for _ in range(EPOCHS):
        started = time.perf_counter()
        for images, targets in train():
            optimizer.zero_grad()
            cross_entropy(net(images), targets).backward()
            optimizer.step()
        with torch.inference_mode():
            parts = [(net(images).softmax(dim=1), targets) for images, targets in val()]
        probabilities, targets = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
        macro_auroc(probabilities, targets)
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
        print(f"{'net':4} {'way':10} {'s an epoch':>10} {'x bare loop':>12}")
        for net_class in (FFN, CNN):
            ways = {
                "bare loop": lambda net: loop_epochs(
                    net, tensor_batches(data, "train", True), tensor_batches(data, "val", False)
                ),
                "dermaexp": lambda net: dermaexp_epochs(net, data),
                "MedMNIST": lambda net: loop_epochs(
                    net, medmnist_batches(root, "train", True), medmnist_batches(root, "val", False)
                ),
            }
            seconds = {
                way: statistics.median(run(net_class((1, 28, 28), 7))[1:])
                for way, run in ways.items()
            }
            for way, value in seconds.items():
                ratio = value / seconds["bare loop"]
                print(f"{net_class.__name__.lower():4} {way:10} {value:10.2f} {ratio:12.2f}")


if __name__ == "__main__":
    main()
