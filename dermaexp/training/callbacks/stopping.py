"""How a training ends before its last epoch, also across an interruption."""

from __future__ import annotations

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping, Timer

from dermaexp.core.errors import UserError
from dermaexp.training.lightning_internals import callbacks_of, has_stopped


class StayStopped(Callback):
    """Ends a resumed training at once if early stopping had ended it.

    Lightning restores what early stopping counted, but not that it stopped, and would train on.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if any(map(has_stopped, callbacks_of(trainer, EarlyStopping))):
            trainer.should_stop = True


class WholeEpochs(Callback):
    """Raises where StopIteration ended an epoch, as Lightning takes it for the end of the data."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.batches = 0

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.batches += 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.batches < trainer.num_training_batches and not trainer.should_stop:
            raise UserError(
                f"epoch {trainer.current_epoch + 1} ended after {self.batches} of "
                f"{trainer.num_training_batches} batches: the model, a callback or another part of "
                "the run raised StopIteration; raise another error there"
            )


class StopAtLimit(Callback):
    """Ends a training after `max_steps` optimizer steps or `max_seconds` of fit in all attempts.

    It ends as early stopping does, with a validation and checkpoints, even inside an epoch.
    Lightning's own max_steps ends without them, after which a resumed run counts epochs wrongly;
    its Timer, which reads max_time, does not check at the end of an epoch.
    """

    def __init__(self, timer: Timer, max_steps: int | None, max_seconds: float | None) -> None:
        self.timer = timer
        self.max_steps = max_steps
        self.max_seconds = max_seconds
        self.reached: str | None = None  # which limit

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step:  # a new run trains one step, however short its time
            self._check(trainer)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self._check(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check(trainer)

    def _check(self, trainer: Trainer) -> None:
        if self.reached:
            return
        if self.max_steps is not None and trainer.global_step >= self.max_steps:
            self.reached = "max_steps"
        elif self.max_seconds is not None:
            is_over = self.timer.time_elapsed("train") >= self.max_seconds
            # The first process's clock decides for all.
            if trainer.strategy.broadcast(is_over):
                self.reached = "max_time"
        trainer.should_stop |= self.reached is not None
