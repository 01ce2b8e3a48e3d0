"""What the trackers get of every epoch."""

from __future__ import annotations

import sys
import time
from typing import cast

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from dermaexp.training.classifier import Classifier
from dermaexp.training.lightning_internals import is_fitting


class TrackEpochs(Callback):
    """Sends each epoch's metrics, learning rate, seconds, training images a second and memory."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = time.perf_counter()
        self.lr = trainer.optimizers[0].param_groups[0]["lr"]

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.trained = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not is_fitting(trainer) or trainer.logger is None:
            return
        classifier = cast(Classifier, pl_module)
        epoch = trainer.current_epoch + 1
        row = {
            **classifier.epoch_metrics,
            "epoch": epoch,
            "lr": self.lr,
            "seconds": time.perf_counter() - self.started,
            "images_per_second": classifier.epoch_samples / (self.trained - self.started),
            "memory_mb": peak_memory(pl_module.device) / 1e6,
        }
        trainer.logger.log_metrics(row, step=epoch)


def peak_memory(device: torch.device) -> float:
    """Return the most bytes that this process has held: of the GPU if it uses one, or of RAM."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ModuleNotFoundError:  # on Windows
        return float("nan")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
