"""Early stopping across an interruption."""

from __future__ import annotations

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping


class StayStopped(Callback):
    """Ends a training at once that went on from the epoch in which early stopping had ended it.

    Lightning restores what early stopping counted but not that it stopped: it would train on.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for callback in trainer.callbacks:
            if isinstance(callback, EarlyStopping) and (
                callback.stopped_epoch or callback.wait_count >= max(1, callback.patience)
            ):
                trainer.should_stop = True
