"""predictions.npz: all that the numbers and figures of a run are computed from."""

from __future__ import annotations

from pytorch_lightning import Callback, Trainer

from dermaexp.runs.directory import RunDirectory
from dermaexp.training.classifier import Classifier


class Predictions(Callback):
    """Writes the probabilities and targets of val and test after the test."""

    def on_test_end(self, trainer: Trainer, module: Classifier) -> None:
        if trainer.is_global_zero:
            RunDirectory(trainer.default_root_dir).write_predictions(
                val_probabilities=module.predictions["val"].probabilities,
                val_targets=module.predictions["val"].targets,
                test_probabilities=module.predictions["test"].probabilities,
                test_targets=module.predictions["test"].targets,
            )
