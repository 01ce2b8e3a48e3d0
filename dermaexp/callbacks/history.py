"""history.csv, a row after every epoch."""

from __future__ import annotations

import time

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn

from dermaexp.results import HISTORY_COLUMNS, RunDirectory


class History(Callback):
    """Writes what the module logged, the epoch's first learning rate and its seconds."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.started = time.perf_counter()
        self.lr = trainer.optimizers[0].param_groups[0]["lr"]

    # Before the checkpoints are saved, which Lightning does last: history.csv is never behind them.
    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING:
            return
        values = {key: value.item() for key, value in trainer.callback_metrics.items()}
        values["epoch"] = trainer.current_epoch + 1
        values["lr"] = self.lr
        values["seconds"] = round(time.perf_counter() - self.started, 3)
        self.rows.append({column: values[column] for column in HISTORY_COLUMNS})
        if trainer.is_global_zero:
            RunDirectory(trainer.default_root_dir).write_history(self.rows)
