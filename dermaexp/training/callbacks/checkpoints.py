"""When and how checkpoints/best.ckpt and last.ckpt are written, and how they are read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from dermaexp.core.errors import UserError
from dermaexp.core.files import write_bytes
from dermaexp.runs.directory import RunDirectory
from dermaexp.training.lightning_internals import moved_checkpoint_state


class _RunCheckpoint(ModelCheckpoint):
    """Overwrites one file in the run directory's checkpoints/ during the training."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.folder = RunDirectory(trainer.default_root_dir).checkpoints
        self.dirpath = str(self.folder)
        super().setup(trainer, pl_module, stage)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(moved_checkpoint_state(state_dict, self.folder))


class BestCheckpoint(_RunCheckpoint):
    """Keeps the first epoch with the highest val macro AUROC, the MedMNIST protocol."""

    changes_numbers = False  # checkpoint.test_with says whether its weights are tested

    def __init__(self) -> None:
        super().__init__(
            filename="best", monitor="val_macro_auroc", mode="max", enable_version_counter=False
        )


class LastCheckpoint(_RunCheckpoint):
    """Keeps the state after the last whole epoch, also when a run is interrupted or diverges."""

    changes_numbers = False

    def __init__(self) -> None:
        super().__init__(filename="last", enable_version_counter=False)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its file, then renames it.

    Lightning's own copies from the system's temporary folder, which loses the old checkpoint when
    the disk is full or the process is killed meanwhile.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_bytes(Path(path), buffer.getvalue())

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        return load_checkpoint(Path(path))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return the checkpoint on the CPU; UserError for a file that is missing or damaged."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises anything on damaged bytes
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            raise
        state = "missing" if isinstance(error, FileNotFoundError) else "damaged"
        raise UserError(
            f"{path} is {state}: delete {path.parent}, and the run starts anew"
        ) from error
