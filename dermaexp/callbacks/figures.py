"""The figures of a run: each callback draws one, from what was trained on or predicted."""

from __future__ import annotations

from typing import Any

import numpy as np
from pytorch_lightning import Callback, Trainer

from dermaexp import calibration, curve_plots, metrics, plots
from dermaexp.classifier import Classifier
from dermaexp.data.splits import Splits
from dermaexp.errors import UserError
from dermaexp.operating_points import HIGHLIGHTED, operating_points
from dermaexp.results import RunDirectory


class Montage(Callback):
    """montage.png: training images before augmentation, a row a class."""

    def __init__(self, columns: int) -> None:
        _check_count("callbacks.montage.columns", columns)
        self.columns = columns

    def on_fit_start(self, trainer: Trainer, module: Classifier) -> None:
        if not trainer.is_global_zero:
            return
        splits = _splits(trainer)
        figure = plots.montage(
            _images(trainer, "train"),
            splits.train.labels,
            splits.classes,
            columns=self.columns,
            title=f"{splits.title}: training images",
        )
        RunDirectory(trainer.default_root_dir).write_figure("montage", figure)


class LearningCurves(Callback):
    """learning_curves.png: accuracy and loss of train and val over the epochs."""

    def on_fit_end(self, trainer: Trainer, module: Classifier) -> None:
        if not trainer.is_global_zero:
            return
        directory = RunDirectory(trainer.default_root_dir)
        figure = plots.learning_curves(directory.read_history(), title=_title(trainer))
        directory.write_figure("learning_curves", figure)


class ConfusionMatrix(Callback):
    """confusion_matrix.png: test counts, and shares of each true class."""

    def on_test_end(self, trainer: Trainer, module: Classifier) -> None:
        if trainer.is_global_zero:
            figure = plots.confusion_matrix(
                _test_confusion(trainer, module),
                _splits(trainer).classes,
                title=_test_title(trainer, module),
            )
            RunDirectory(trainer.default_root_dir).write_figure("confusion_matrix", figure)


class PerClassAccuracy(Callback):
    """per_class_accuracy.png: test recall of each class with its 95 % interval."""

    def on_test_end(self, trainer: Trainer, module: Classifier) -> None:
        if trainer.is_global_zero:
            figure = plots.per_class_accuracy(
                _test_confusion(trainer, module),
                _splits(trainer).classes,
                title=_test_title(trainer, module),
            )
            RunDirectory(trainer.default_root_dir).write_figure("per_class_accuracy", figure)


class ROCCurves(Callback):
    """roc_curves.png: each class against the rest on test, and the operating point of melanoma."""

    def on_test_end(self, trainer: Trainer, module: Classifier) -> None:
        if trainer.is_global_zero:
            predictions, classes = module.predictions, _splits(trainer).classes
            points = operating_points(predictions["val"], predictions["test"], classes)["classes"]
            marked = {
                name: (point["test"]["sensitivity"], point["test"]["specificity"])
                for name, point in points.items()
                if name == HIGHLIGHTED
            }
            figure = curve_plots.roc_curves(
                *predictions["test"], classes, marked=marked, title=_test_title(trainer, module)
            )
            RunDirectory(trainer.default_root_dir).write_figure("roc_curves", figure)


class PrecisionRecallCurves(Callback):
    """precision_recall_curves.png: each class against the rest on test."""

    def on_test_end(self, trainer: Trainer, module: Classifier) -> None:
        if trainer.is_global_zero:
            figure = curve_plots.precision_recall_curves(
                *module.predictions["test"],
                _splits(trainer).classes,
                title=_test_title(trainer, module),
            )
            RunDirectory(trainer.default_root_dir).write_figure("precision_recall_curves", figure)


class Reliability(Callback):
    """reliability.png: accuracy over confidence on test, raw and, if asked for, calibrated."""

    def __init__(self, calibrate: bool) -> None:
        self.calibrate = calibrate

    def on_test_end(self, trainer: Trainer, module: Classifier) -> None:
        if trainer.is_global_zero:
            probabilities, targets = module.predictions["test"]
            versions = {"raw": probabilities}
            if self.calibrate:
                temperature, at_limit = calibration.fit_temperature(*module.predictions["val"])
                found = "no best T on val, limit" if at_limit else "calibrated on val"
                name = f"{found}, T = {temperature:.2f}"
                versions[name] = calibration.calibrated(probabilities, temperature)
            title = _test_title(trainer, module)
            figure = curve_plots.reliability(versions, targets, title=title)
            RunDirectory(trainer.default_root_dir).write_figure("reliability", figure)


class Misclassified(Callback):
    """misclassified.png: the test images that the net got wrong, the surest first."""

    def __init__(self, count: int) -> None:
        _check_count("callbacks.misclassified.count", count)
        self.count = count

    def on_test_end(self, trainer: Trainer, module: Classifier) -> None:
        if trainer.is_global_zero:
            figure = plots.misclassified(
                _images(trainer, "test")[trainer.datamodule.used["test"]],
                *module.predictions["test"],
                _splits(trainer).classes,
                count=self.count,
                title=_test_title(trainer, module),
            )
            RunDirectory(trainer.default_root_dir).write_figure("misclassified", figure)


def _check_count(key: str, count: Any) -> None:
    if type(count) is not int or count < 1:
        raise UserError(f"{key}={count}: expected a whole number from 1")


def _splits(trainer: Trainer) -> Splits:
    return trainer.datamodule.splits


def _images(trainer: Trainer, split: str) -> np.ndarray:
    """Images (N, H, W, C) uint8 as the net sees them."""
    return trainer.datamodule.images[split].images.numpy()


def _title(trainer: Trainer) -> str:
    name = RunDirectory(trainer.default_root_dir).read_run()["name"]
    return f"{name} on {_splits(trainer).title}"


def _test_title(trainer: Trainer, module: Classifier) -> str:
    used = len(module.predictions["test"].targets)
    return f"{_title(trainer)}, {_splits(trainer).part('test', used)}"


def _test_confusion(trainer: Trainer, module: Classifier) -> np.ndarray:
    probabilities, targets = module.predictions["test"]
    return metrics.confusion_matrix(probabilities.argmax(axis=1), targets, probabilities.shape[1])
