"""The end of a training that its search prunes."""

from __future__ import annotations

from typing import cast

from pytorch_lightning import Callback, LightningModule, Trainer

from dermaexp.training.classifier import Classifier
from dermaexp.training.lightning_internals import is_fitting
from dermaexp.training.trial import Trial

METRIC = "val_macro_auroc"  # what a search maximises


class PruneTrial(Callback):
    """Reports val macro AUROC after each epoch to `trial`, and stops the training if that says so.

    Process 0 alone has the trial and decides for all. A resumed training reports its last epoch
    again, as it may have been stopped between the checkpoint and the decision.
    """

    def __init__(self, trial: Trial | None) -> None:
        self.trial = trial
        self.pruned = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch:
            self._report(trainer, pl_module, trainer.current_epoch)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if is_fitting(trainer):
            self._report(trainer, pl_module, trainer.current_epoch + 1)

    def _report(self, trainer: Trainer, pl_module: LightningModule, epoch: int) -> None:
        value = cast(Classifier, pl_module).epoch_metrics[METRIC]
        pruned = self.trial is not None and self.trial.report(value, epoch)
        self.pruned |= trainer.strategy.broadcast(pruned)
        trainer.should_stop |= self.pruned
