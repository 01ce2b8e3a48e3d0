"""checkpoints/best.ckpt and last.ckpt: when they are written, and how."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from dermaexp.results import RunDirectory, write_bytes


class _RunCheckpoint(ModelCheckpoint):
    """One file in the run directory's checkpoints/, written over as the training goes on."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.dirpath = str(RunDirectory(trainer.default_root_dir).checkpoints)
        super().setup(trainer, pl_module, stage)


class BestCheckpoint(_RunCheckpoint):
    """The epoch with the highest val macro AUROC, the MedMNIST protocol; the first of equals."""

    def __init__(self) -> None:
        super().__init__(
            filename="best", monitor="val_macro_auroc", mode="max", enable_version_counter=False
        )


class LastCheckpoint(_RunCheckpoint):
    """The state after the last whole epoch; stays when a run is interrupted or diverges."""

    def __init__(self) -> None:
        super().__init__(filename="last", enable_version_counter=False)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its file, then renames it.

    Lightning's own writes in the system's temporary folder and then copies from there, which loses
    the old checkpoint when the disk is full or the process is killed meanwhile.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_bytes(Path(path), buffer.getvalue())
