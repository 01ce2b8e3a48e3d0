"""The figures of a run: each callback draws one, from what was trained on or predicted."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from pytorch_lightning import Callback, LightningModule, Trainer

from dermaexp.data.splits import Splits
from dermaexp.metrics import calibration, classification
from dermaexp.metrics.operating_points import HIGHLIGHTED, operating_points
from dermaexp.report import curve_plots, plots
from dermaexp.report.style import write_figure
from dermaexp.runs.directory import RunDirectory


class Montage(Callback):
    """montage.png: training images before augmentation, a row a class."""

    def __init__(self, columns: int) -> None:
        self.columns = columns

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
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
        _write(trainer, "montage", figure)


class LearningCurves(Callback):
    """learning_curves.png: accuracy and loss of train and val over the epochs."""

    def on_fit_end(self, trainer: Trainer, module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        directory = RunDirectory(trainer.default_root_dir)
        figure = plots.learning_curves(directory.read_history(), title=_title(trainer))
        _write(trainer, "learning_curves", figure)


class ConfusionMatrix(Callback):
    """confusion_matrix.png: test counts, and shares of each true class."""

    def on_test_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.is_global_zero:
            figure = plots.confusion_matrix(
                _test_confusion(trainer, module),
                _splits(trainer).classes,
                title=_test_title(trainer, module),
            )
            _write(trainer, "confusion_matrix", figure)


class PerClassAccuracy(Callback):
    """per_class_accuracy.png: test recall of each class with its 95 % interval."""

    def on_test_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.is_global_zero:
            figure = plots.per_class_accuracy(
                _test_confusion(trainer, module),
                _splits(trainer).classes,
                title=_test_title(trainer, module),
            )
            _write(trainer, "per_class_accuracy", figure)


class ROCCurves(Callback):
    """roc_curves.png: each class against the rest on test, and the operating point of melanoma."""

    def on_test_end(self, trainer: Trainer, module: LightningModule) -> None:
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
            _write(trainer, "roc_curves", figure)


class PrecisionRecallCurves(Callback):
    """precision_recall_curves.png: each class against the rest on test."""

    def on_test_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.is_global_zero:
            figure = curve_plots.precision_recall_curves(
                *module.predictions["test"],
                _splits(trainer).classes,
                title=_test_title(trainer, module),
            )
            _write(trainer, "precision_recall_curves", figure)


class Reliability(Callback):
    """reliability.png: accuracy over confidence on test, raw and, if asked for, calibrated."""

    def __init__(self, calibrate: bool) -> None:
        self.calibrate = calibrate

    def on_test_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.is_global_zero:
            targets, probabilities = module.predictions["test"]
            versions = {"raw": probabilities}
            if self.calibrate:
                temperature, at_limit = calibration.fit_temperature(*module.predictions["val"])
                found = "no best T on val, limit" if at_limit else "calibrated on val"
                name = f"{found}, T = {temperature:.2f}"
                versions[name] = calibration.calibrated(probabilities, temperature)
            title = _test_title(trainer, module)
            figure = curve_plots.reliability(targets, versions, title=title)
            _write(trainer, "reliability", figure)


class Misclassified(Callback):
    """misclassified.png: the test images that the net got wrong, the surest first."""

    def __init__(self, count: int) -> None:
        self.count = count

    def on_test_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.is_global_zero:
            figure = plots.misclassified(
                _images(trainer, "test")[trainer.datamodule.used["test"]],
                *module.predictions["test"],
                _splits(trainer).classes,
                count=self.count,
                title=_test_title(trainer, module),
            )
            _write(trainer, "misclassified", figure)


def _write(trainer: Trainer, name: str, figure: Figure) -> None:
    write_figure(RunDirectory(trainer.default_root_dir).path, name, figure)


def _splits(trainer: Trainer) -> Splits:
    return trainer.datamodule.splits


def _images(trainer: Trainer, split: str) -> np.ndarray:
    """Images (N, H, W, C) uint8 as the net sees them."""
    return trainer.datamodule.images[split].images.numpy()


def _title(trainer: Trainer) -> str:
    name = RunDirectory(trainer.default_root_dir).read_run()["name"]
    return f"{name} on {_splits(trainer).title}"


def _test_title(trainer: Trainer, module: LightningModule) -> str:
    used = len(module.predictions["test"].targets)
    return f"{_title(trainer)}, {_splits(trainer).part('test', used)}"


def _test_confusion(trainer: Trainer, module: LightningModule) -> np.ndarray:
    targets, probabilities = module.predictions["test"]
    return classification.confusion_matrix(
        targets, probabilities.argmax(axis=1), probabilities.shape[1]
    )
