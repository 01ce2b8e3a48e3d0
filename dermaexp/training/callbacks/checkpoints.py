"""When and how checkpoints/best.ckpt and last.ckpt are written, and how they are read."""

from __future__ import annotations

import io
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from dermaexp.core.errors import UserError
from dermaexp.core.files import write_bytes
from dermaexp.runs.directory import RunDirectory
from dermaexp.training.lightning_internals import moved_checkpoint_state

BEHIND = 1  # files that may wait for the disk when the next is saved


class _RunCheckpoint(ModelCheckpoint):
    """Overwrites one file in the run directory's checkpoints/ after each epoch."""

    on_train_batch_end = Callback.on_train_batch_end  # nothing is saved there

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
    """Writes a checkpoint beside its file, then renames it, while the training goes on.

    Lightning's own copies from the system's temporary folder, which loses the old checkpoint when
    the disk is full or the process is killed meanwhile. Files are written one after the other;
    an error of one is raised when the next is saved, or at the end of the training.
    """

    def __init__(self) -> None:
        self._writer = ThreadPoolExecutor(1)
        self._pending: deque[Future[None]] = deque()

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)  # now, as the next step changes the tensors
        self._wait(but=BEHIND)
        self._pending.append(self._writer.submit(write_bytes, Path(path), buffer.getbuffer()))

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        self._wait()
        return load_checkpoint(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        self._wait()
        super().remove_checkpoint(path)

    def teardown(self) -> None:
        self._wait()

    def _wait(self, but: int = 0) -> None:
        """Wait until all files `but` the last ones are written."""
        while len(self._pending) > but:
            self._pending.popleft().result()


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
