"""Random numbers that depend on the seed and the epoch alone."""

from __future__ import annotations

import pytorch_lightning as lightning
from pytorch_lightning import Callback, LightningModule, Trainer

from dermaexp.data.batches import mixed_seed


class SeedEveryEpoch(Callback):
    """Seeds all generators at the start of each epoch, differently in each process.

    A checkpoint does not hold the generators' state: seeded so, dropout and random augmentation
    give the same numbers in a resumed run as in an uninterrupted one.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        mixed = mixed_seed(self.seed, trainer.current_epoch, trainer.global_rank)
        lightning.seed_everything(mixed % 2**32, verbose=False)
