"""checkpoints/best.ckpt and last.ckpt, which Lightning writes whole or not at all."""

from __future__ import annotations

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from dermaexp.results import RunDirectory


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
