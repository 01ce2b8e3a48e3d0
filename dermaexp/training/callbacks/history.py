"""history.csv, a row after every epoch."""

from __future__ import annotations

import time
from typing import Any, cast

from pytorch_lightning import Callback, LightningModule, Trainer

from dermaexp.runs.directory import RunDirectory
from dermaexp.training.classifier import Classifier
from dermaexp.training.lightning_internals import is_fitting


class History(Callback):
    """Writes each epoch's metrics, its learning rate at the start and its seconds."""

    changes_numbers = False
    share = 1.0  # of an epoch's seconds, where several runs are trained at once

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows = state["rows"]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = time.perf_counter()
        self.lr = trainer.optimizers[0].param_groups[0]["lr"]

    # Lightning saves the checkpoints after this, so that history.csv is never behind them.
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not is_fitting(trainer):
            return
        row = {
            **cast(Classifier, pl_module).epoch_metrics,
            "epoch": trainer.current_epoch + 1,
            "lr": self.lr,
            "seconds": round((time.perf_counter() - self.started) * self.share, 3),
        }
        self.rows.append(row)
        if trainer.is_global_zero:
            RunDirectory(trainer.default_root_dir).write_history(self.rows)
