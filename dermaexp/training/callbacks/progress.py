"""One progress bar for the whole training."""

from __future__ import annotations

import math
import time
from typing import Any, cast

from pytorch_lightning import Callback, LightningModule, Trainer
from rich.progress import (
    BarColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bar,
)

from dermaexp.core.console import console
from dermaexp.training.classifier import Classifier

REFRESHED = 4  # times a second: to draw the bar takes milliseconds


class Progress(Callback):
    """Shows a bar in a terminal; elsewhere, as in a log, prints a line an epoch."""

    changes_numbers = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.epochs = trainer.max_epochs or 0
        self.bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            console=console,
            refresh_per_second=REFRESHED,
            disable=not (console.is_terminal and trainer.is_global_zero),
            transient=True,
        )
        begun = trainer.current_epoch  # more than 0 in a resumed run
        batches = min(
            self.epochs * trainer.num_training_batches,
            (cast(Classifier, pl_module).max_steps or math.inf) * trainer.accumulate_grad_batches,
        )
        self.task = self.bar.add_task(
            f"epoch {min(begun + 1, self.epochs)}/{self.epochs}",
            total=batches,
            completed=int(begun * trainer.num_training_batches),
        )
        self.batches, self.shown = 0, 0.0  # since the bar was told of them, and when that was
        self.bar.start()

    def on_train_batch_end(self, *_: Any) -> None:
        self.batches += 1
        if (now := time.monotonic()) > self.shown + 1 / REFRESHED:
            self.bar.advance(self.task, self.batches)
            self.batches, self.shown = 0, now

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        logged = cast(Classifier, pl_module).epoch_metrics
        line = (
            f"epoch {epoch}/{self.epochs}  loss {logged['train_loss']:.3f}  "
            f"val AUROC {logged['val_macro_auroc']:.3f}"
        )
        self.bar.update(self.task, advance=self.batches, description=line)
        self.batches = 0
        if not console.is_terminal and trainer.is_global_zero:
            console.print(line)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.bar.stop()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        if hasattr(self, "bar"):
            self.bar.stop()
