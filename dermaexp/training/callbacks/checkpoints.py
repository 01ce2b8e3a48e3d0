"""checkpoints/best.ckpt and last.ckpt: when they are written, and how."""

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

PATHS = ("best_model_path", "kth_best_model_path", "last_model_path", "best_k_models")


class _RunCheckpoint(ModelCheckpoint):
    """One file in the run directory's checkpoints/, written over as the training goes on."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.dirpath = str(RunDirectory(trainer.default_root_dir).checkpoints)
        super().setup(trainer, pl_module, stage)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Of a run directory that may have been moved since: Lightning would forget the best."""

        def moved(value: Any) -> Any:
            if isinstance(value, str) and value:
                return str(Path(self.dirpath) / Path(value).name)
            if isinstance(value, dict):
                return {moved(path): score for path, score in value.items()}
            return value

        paths = {key: moved(state_dict[key]) for key in PATHS}
        super().load_state_dict({**state_dict, **paths, "dirpath": self.dirpath})


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

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        return load_checkpoint(Path(path))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The checkpoint on the processor; UserError for a file that is none or not whole."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises anything on damaged bytes
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            raise
        state = "missing" if isinstance(error, FileNotFoundError) else "damaged"
        raise UserError(
            f"{path} is {state}: delete {path.parent}, and the run starts anew"
        ) from error
