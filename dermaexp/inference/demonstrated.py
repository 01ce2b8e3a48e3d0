"""What the demo shows of a run: its model, its test and training images, its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dermaexp.core.errors import UserError
from dermaexp.core.grid import Grid
from dermaexp.inference.neighbours import TrainingImages
from dermaexp.inference.repeat import accelerator_of
from dermaexp.inference.trained import TrainedModel, config_to_load, trained_model
from dermaexp.metrics.baseline import baseline_of
from dermaexp.metrics.labels import indicators
from dermaexp.metrics.names import labels_of
from dermaexp.report import leak
from dermaexp.report.stored_run import StoredRun
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.finished import finished

SHOWN = 24  # test images, as many of each class as there are room and images for
SYNTHETIC = "The run's data are synthetic: its images and scores are not of patients."
SCORES = labels_of("accuracy", "balanced_accuracy", "macro_auroc")


@dataclass(frozen=True)
class Demonstrated:
    """A run as the demo shows it.

    `test_images` (N, H, W, C) are some of the source's, `test_labels` (N,) or (N, L) theirs. There
    are none, and no `training` images, where the run's data cannot be loaded; `missing` says why.
    `warnings` stand on top of the page, `notes` below the scores.
    """

    title: str
    model: TrainedModel
    test_images: np.ndarray
    test_labels: np.ndarray
    training: TrainingImages | None
    scores: Grid
    warnings: list[str]
    notes: list[str]
    missing: str = ""


def demonstrated(directory: RunDirectory) -> Demonstrated:
    """Return what the demo shows of the run, on the run's kind of device if it is here.

    Raises UserError as `trained_model` does.
    """
    record, metrics = finished(directory)
    model = trained_model(directory).to(accelerator_of(record))
    title = f"{record['name']} on {metrics['data']['name']}"
    test_images, test_labels = np.empty((0, 1, 1, 3), np.uint8), np.empty(0, np.int64)
    training, missing = None, ""
    stored = StoredRun(directory, record, config_to_load(record, metrics))
    try:
        test = stored.splits.test
    except UserError as error:
        missing = str(error)
    else:
        shown = some_of_each(test.labels, len(model.classes))
        test_images, test_labels = test.images[shown], test.labels[shown]
        training = TrainingImages(model, stored.train_images, stored.train_labels)
    return Demonstrated(
        title,
        model,
        test_images,
        test_labels,
        training,
        _scores(metrics),
        [SYNTHETIC] if record["data"]["synthetic"] else [],
        _notes(metrics, training),
        missing,
    )


def some_of_each(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return indices of about `SHOWN` images, spread evenly over each class, class by class.

    An image with several labels is shown once.
    """
    count = max(1, SHOWN // classes)
    chosen: list[int] = []
    for is_class in indicators(labels, classes).T:
        images = np.flatnonzero(is_class)
        taken = min(count, len(images))
        chosen += images[np.arange(taken) * len(images) // max(1, taken)].tolist()
    return np.array(list(dict.fromkeys(chosen)), np.int64)


def _scores(metrics: Mapping[str, Any]) -> Grid:
    test, baseline = metrics["test"], baseline_of(metrics)
    columns = [("Test", test), ("95 % interval", test["intervals"])]
    columns += [(baseline.label, baseline.scores), *leak.columns(metrics).items()]
    return Grid.of_scores("", SCORES, columns)


def _notes(metrics: Mapping[str, Any], training: TrainingImages | None) -> list[str]:
    """Return what a reader of the page must know, in sentences."""
    samples = metrics["data"]["samples"]
    notes = [f"Trained on {samples['train']:,} images, tested on {samples['test']:,}."]
    if reading := leak.reading(metrics):
        notes.append(reading)
    if calibration := metrics.get("calibration"):
        notes.append(
            f"Probabilities are calibrated: at the temperature {calibration['temperature']:.2f}, "
            "fitted on val."
        )
    else:
        notes.append("Probabilities are as the model gives them, not calibrated.")
    if training and len(training.places) < len(training.labels):
        notes.append(
            f"The most similar images are looked up among {len(training.places):,} of "
            f"{len(training.labels):,} training images."
        )
    return notes
