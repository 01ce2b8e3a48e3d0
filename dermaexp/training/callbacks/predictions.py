"""predictions.npz, from which all numbers and figures of a run can be computed."""

from __future__ import annotations

from typing import cast

from pytorch_lightning import Callback, LightningModule, Trainer

from dermaexp.runs.directory import RunDirectory
from dermaexp.training.classifier import Classifier


class Predictions(Callback):
    """Writes the targets and probabilities of val and test after the test."""

    changes_numbers = False

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            predictions = cast(Classifier, pl_module).predictions
            RunDirectory(trainer.default_root_dir).write_predictions(
                val_probabilities=predictions["val"].probabilities,
                val_targets=predictions["val"].targets,
                test_probabilities=predictions["test"].probabilities,
                test_targets=predictions["test"].targets,
            )
