"""The four steps of an experiment: fit, select weights, predict, evaluate.

Each takes what the one before returns, so that no other order can be written.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import EarlyStopping, WeightAveraging
from torch import Tensor

from dermaexp.data.datamodule import ImageDataModule
from dermaexp.metrics.predictions import Predictions
from dermaexp.runs.directory import RunDirectory
from dermaexp.training.callbacks import (
    BestCheckpoint,
    StopAtLimit,
    load_checkpoint,
)
from dermaexp.training.classifier import Classifier
from dermaexp.training.lightning_internals import (
    callbacks_of,
    has_stopped,
    lean_hooks,
    without_callbacks,
)
from dermaexp.training.run_metrics import run_leak_metrics, run_metrics

Weights = Mapping[str, Tensor]


class Fitted(NamedTuple):
    """What a training came to."""

    weights: Weights  # as the training left them
    train: dict[str, float]  # loss and accuracy of the last epoch, as trained
    samples: int  # training images seen in an epoch
    epochs: int
    planned_epochs: int
    ended_by: str | None  # what ended it, if not its last planned epoch
    keeps_best: bool  # in best.ckpt
    had_ended: bool  # before it was resumed: no batch was trained now


class Selected(NamedTuple):
    """The weights to predict with, and the epoch with the best val macro AUROC, from 1."""

    weights: Weights
    best_epoch: int | None  # None where best.ckpt is switched off


def fit(
    trainer: Trainer, classifier: Classifier, data: ImageDataModule, checkpoint: Path | None
) -> Fitted:
    """Train, from `checkpoint` if given."""
    with lean_hooks():
        trainer.fit(classifier, data, ckpt_path=checkpoint)
    metrics = classifier.epoch_metrics
    return Fitted(
        weights=classifier.state_dict(),
        train={name: metrics[f"train_{name}"] for name in ("loss", "accuracy")},
        samples=classifier.trained_samples,
        epochs=trainer.current_epoch,
        planned_epochs=trainer.max_epochs or 0,
        ended_by=_ended_by(trainer),
        keeps_best=bool(callbacks_of(trainer, BestCheckpoint)),
        had_ended=not classifier.sums.batches,
    )


def select_weights(fitted: Fitted, directory: RunDirectory, test_with: str) -> Selected:
    """Return the weights of the best or of the last epoch, as `test_with` says.

    The last epoch's are as the training left them: callbacks may change them at its very end, after
    last.ckpt. Where a resumed training had ended before, Lightning leaves the weights without their
    moving average, and those of last.ckpt are taken, if it is of that epoch.
    """
    best = load_checkpoint(directory.best_checkpoint) if fitted.keeps_best else None
    best_epoch = best["epoch"] + 1 if best else None
    if best and test_with == "best":
        return Selected(best["state_dict"], best_epoch)
    if fitted.had_ended:
        last = load_checkpoint(directory.last_checkpoint)
        if last["epoch"] + 1 == fitted.epochs:
            return Selected(last["state_dict"], best_epoch)
    return Selected(fitted.weights, best_epoch)


def check_checkpoints(trainer: Trainer, directory: RunDirectory) -> None:
    """Raise UserError for a damaged best.ckpt now, and not when a resumed training is over."""
    if callbacks_of(trainer, BestCheckpoint):
        load_checkpoint(directory.best_checkpoint)


def predict(
    trainer: Trainer, classifier: Classifier, data: ImageDataModule, weights: Weights
) -> dict[str, Predictions]:
    """Return the predictions of "val" and "test" by `weights`, in the splits' order."""
    classifier.load_state_dict(weights)
    # Weight averaging would put its last average in the place of the given weights.
    with without_callbacks(trainer, WeightAveraging):
        trainer.validate(classifier, data, verbose=False)
        trainer.test(classifier, data, verbose=False)
    return dict(classifier.predictions)


def evaluate(
    predictions: Mapping[str, Predictions], data: ImageDataModule, *, calibrate: bool
) -> dict[str, Any]:
    """Return the final numbers of `predictions` as they stand in metrics.json."""
    splits = data.splits
    return {
        **run_metrics(
            predictions,
            splits.train.labels,
            splits.classes,
            calibrate=calibrate,
            task=splits.task,
        ),
        **run_leak_metrics(*predictions["test"], splits, data.used["test"]),
    }


def _ended_by(trainer: Trainer) -> str | None:
    for limit in callbacks_of(trainer, StopAtLimit):
        if limit.reached:
            return limit.reached
    stopped = any(map(has_stopped, callbacks_of(trainer, EarlyStopping)))
    return "early_stopping" if stopped else None
