"""history.csv, a row after every epoch."""

from __future__ import annotations

import time
from typing import Any

from pytorch_lightning import Callback, Trainer
from pytorch_lightning.trainer.states import TrainerFn

from dermaexp.runs.directory import RunDirectory
from dermaexp.training.classifier import Classifier


class History(Callback):
    """Writes the module's numbers of each epoch, its first learning rate and its seconds."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows = state["rows"]

    def on_train_epoch_start(self, trainer: Trainer, module: Classifier) -> None:
        self.started = time.perf_counter()
        self.lr = trainer.optimizers[0].param_groups[0]["lr"]

    # Before the checkpoints are saved, which Lightning does last: history.csv is never behind them.
    def on_validation_end(self, trainer: Trainer, module: Classifier) -> None:
        if trainer.state.fn != TrainerFn.FITTING:
            return
        row = {
            **module.epoch_metrics,
            "epoch": trainer.current_epoch + 1,
            "lr": self.lr,
            "seconds": round(time.perf_counter() - self.started, 3),
        }
        self.rows.append(row)
        if trainer.is_global_zero:
            RunDirectory(trainer.default_root_dir).write_history(self.rows)
