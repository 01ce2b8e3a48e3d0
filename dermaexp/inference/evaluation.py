"""One model or an ensemble on data with labels: its predictions and what they come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dermaexp.core.errors import UserError
from dermaexp.core.tasks import Task, task_of
from dermaexp.data.gray import prepared_lazily
from dermaexp.data.load import load_splits
from dermaexp.data.mapped import Images, taken
from dermaexp.data.sample import spread
from dermaexp.data.splits import Splits
from dermaexp.inference.matching import common_classes, matched
from dermaexp.metrics import resampling, scores, significance
from dermaexp.metrics.labels import is_correct
from dermaexp.metrics.names import METRICS
from dermaexp.metrics.operating_points import operating_points
from dermaexp.metrics.predictions import Predictions
from dermaexp.metrics.significance import p_text
from dermaexp.report.stored_run import StoredRun
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.finished import finished, shape_of
from dermaexp.runs.metrics_file import Metrics

TESTED = ("accuracy", "balanced_accuracy", "macro_auroc")  # as a comparison tests them


@dataclass(frozen=True)
class Member:
    """A run of an evaluation, with its numbers on the evaluated split."""

    path: Path
    name: str
    metrics: Metrics  # its own
    predictions: Predictions
    numbers: dict[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """What the figures and the page of an evaluation show; `test` is the evaluated split.

    `numbers` are those of metrics.json, by split. `notes` say what a reader must know.
    """

    name: str
    splits: Splits
    split: str
    classes: tuple[str, ...]
    predictions: dict[str, Predictions]
    numbers: dict[str, Any]
    members: list[Member]
    thresholds: Predictions  # of val, empty where the members have no val in common
    test_images: Images  # (N, H, W, C) uint8 as the model gets them, but for their size
    notes: list[str] = field(default_factory=list)

    @property
    def task(self) -> Task:
        return task_of(self.members[0].metrics["data"])

    @property
    def data_title(self) -> str:
        return self.splits.title

    @property
    def test_part(self) -> str:
        return self.splits.part(self.split, len(self.test.targets))

    @property
    def test(self) -> Predictions:
        return self.predictions[self.split]

    @property
    def val(self) -> Predictions:
        return self.thresholds


def evaluate_own(directories: Sequence[RunDirectory]) -> Evaluation:
    """Evaluate each run, and all together, on their own val and test images, as they were tested.

    Raises UserError where the runs were tested on different images, and as `repeat` does.
    """
    from dermaexp.inference.repeat import differences, repeat
    from dermaexp.training import steps

    own = [finished(directory) for directory in directories]
    if len({record["data"]["test_fingerprint"] for record, _ in own}) > 1:
        raise UserError(
            "the runs were tested on different images: give the data to evaluate them on, such as "
            "dataset=npz dataset.path=FILE"
        )
    classes = common_classes([metrics for _, metrics in own])
    members, notes, found = [], [], []
    names = [record["name"] for record, _ in own]
    for directory, (record, metrics) in zip(directories, own, strict=True):
        repeated = repeat(directory)
        found.append(repeated)
        name = record["name"]
        if names.count(name) > 1:
            name = directory.path.name
        predictions = repeated.predictions["test"]
        members.append(Member(directory.path, name, metrics, predictions, repeated.numbers["test"]))
        devices = f"on {repeated.device['name']}, the run on {record['device']['name']}"
        notes.append(f"{name}: {_agreement(differences(repeated.numbers, metrics), devices)}")
    first = found[0]
    if len(found) == 1:
        predictions_of, numbers = first.predictions, first.numbers
    else:
        predictions_of = {
            split: _mean([repeated.predictions[split] for repeated in found])
            for split in ("val", "test")
        }
        numbers = steps.evaluate(predictions_of, first.data, calibrate=False)
        notes += _gain(members, predictions_of["test"])
    splits = first.data.splits
    used = spread(splits.test.labels, len(predictions_of["test"].targets))
    images = taken(splits.test.images, used)
    return Evaluation(
        _name(members),
        splits,
        "test",
        classes,
        predictions_of,
        numbers,
        members,
        predictions_of["val"],
        _shown(images, own[0][1]),
        notes,
    )


def evaluate_on(
    directories: Sequence[RunDirectory], overrides: Sequence[str], split: str
) -> Evaluation:
    """Evaluate each run, and all together, on a split of other data, matching classes by name.

    Without `overrides` of the dataset these are the first run's own data. Raises UserError where
    images are of a class that the model does not know.
    """
    from dermaexp.inference.predict import probabilities_of
    from dermaexp.inference.repeat import accelerator_of
    from dermaexp.inference.trained import config_to_load, trained_model

    own = [finished(directory) for directory in directories]
    classes = common_classes([metrics for _, metrics in own])
    stored = [
        StoredRun(directory, record, config_to_load(record, metrics))
        for directory, (record, metrics) in zip(directories, own, strict=True)
    ]
    splits = _loaded(overrides) if overrides else stored[0].splits
    images, targets, notes = matched(splits, split, classes, own[0][1])
    trained_on = {record["data"]["fingerprint"] for record, _ in own}
    if splits.fingerprint in trained_on and split != "test":
        chosen = "trained on" if split == "train" else "selected by"
        notes.append(f"the model was {chosen} these images: the numbers are optimistic")
    members, of_val = [], []
    for directory, run, (record, metrics) in zip(directories, stored, own, strict=True):
        model = trained_model(directory).to(accelerator_of(record))
        model.temperature = None  # as in predictions.npz
        size = shape_of(metrics)[1:]
        if size != images.shape[1:3]:
            notes.append(
                f"{run.name}: images of {' x '.join(map(str, images.shape[1:3]))} pixels are "
                f"resized to the {' x '.join(map(str, size))} that the model takes"
            )
        order = [metrics["data"]["classes"].index(name) for name in classes]
        probabilities = probabilities_of(model, images)[:, order]
        numbers = _numbers(Predictions(targets, probabilities), metrics, classes)
        answers = Predictions(targets, probabilities)
        members.append(Member(directory.path, run.name, metrics, answers, numbers))
        if order == list(range(len(order))) and directory.has_predictions():
            of_val.append(run.val)
    predictions = _mean([member.predictions for member in members])
    thresholds = (
        _mean(of_val) if len(of_val) == len(members) and _alike(of_val) else _empty(predictions)
    )
    first: Any = own[0][1]
    majority = "majority_labels" if "majority_labels" in first else "majority_class"
    numbers = {
        split: _numbers(predictions, own[0][1], classes),
        majority: first[majority],
        "operating_points": operating_points(thresholds, predictions, classes),
    }
    if len(members) > 1:
        notes += _gain(members, predictions)
    return Evaluation(
        _name(members),
        splits,
        split,
        classes,
        {split: predictions},
        numbers,
        members,
        thresholds,
        _shown(images, own[0][1]),
        notes,
    )


def _loaded(overrides: Sequence[str]) -> Splits:
    from dermaexp.launch import validate
    from dermaexp.launch.dataset import composed

    config = composed(overrides)
    validate.check_dataset(config)
    return load_splits(config.dataset)


def _numbers(predictions: Predictions, metrics: Metrics, classes: Sequence[str]) -> dict[str, Any]:
    """The numbers of a split, beside the majority baseline of the run's own training images."""
    task = task_of(metrics["data"])
    if task == "multi-label":
        train = np.array([[int(name in metrics["majority_labels"]) for name in classes]])
    else:
        train = np.array([classes.index(metrics["majority_class"])])
    return scores.split_metrics(*predictions, train, classes, task)


def _mean(predictions: Sequence[Predictions]) -> Predictions:
    """The mean of the members' probabilities; UserError where they are of other images."""
    if len(predictions) == 1:
        return predictions[0]
    if not _alike(predictions):
        raise UserError(
            "the runs predicted different images of their splits: an ensemble needs the same, "
            "also in trainer.limit_val_batches and trainer.limit_test_batches"
        )
    together = np.stack([own.probabilities for own in predictions])
    mean = together.mean(axis=0, dtype=np.float64)
    return Predictions(predictions[0].targets, np.asarray(mean, np.float32))


def _alike(predictions: Sequence[Predictions]) -> bool:
    first = predictions[0].targets
    return all(np.array_equal(own.targets, first) for own in predictions)


def _empty(like: Predictions) -> Predictions:
    return Predictions(like.targets[:0], like.probabilities[:0])


def _name(members: Sequence[Member]) -> str:
    return members[0].name if len(members) == 1 else f"ensemble of {len(members)} runs"


def _shown(images: Images, metrics: Metrics) -> Images:
    return prepared_lazily(images, shape_of(metrics)[0] == 1)


def _agreement(distances: Mapping[str, float], devices: str) -> str:
    """Say whether the numbers are those of metrics.json."""
    differing = {key: distance for key, distance in distances.items() if distance}
    if not differing:
        return f"all {len(distances):,} numbers equal metrics.json to the last digit"
    furthest = max(differing, key=lambda key: differing[key])
    return (
        f"{len(differing):,} of {len(distances):,} numbers differ from metrics.json, "
        f"{furthest} the most, by {differing[furthest]:.2g} ({devices})"
    )


def _gain(members: Sequence[Member], ensemble: Predictions) -> list[str]:
    """Compare the ensemble with its best member by val, a sentence for each metric."""

    def val(member: Member) -> float:
        return member.metrics["val"]["macro_auroc"] or 0.0

    best = max(members, key=val)
    targets = ensemble.targets
    both = [ensemble.probabilities, best.predictions.probabilities]
    resampled = resampling.bootstrap(targets, both)
    points = [scores.headline_scores(targets, own) for own in both]
    correct = [is_correct(targets, own) for own in both]
    lines = []
    for metric in TESTED:
        first, second = (np.array([own[metric]]) for own in points)
        found = significance.difference(first, second, resampled[metric][:1], resampled[metric][1:])
        if found.p != found.p:
            continue
        p, least = found.p, 2 / (resampling.RESAMPLES + 1)
        if metric == "accuracy" and targets.ndim == 2:
            p = max(p, significance.sign_flip_exact(*(own[None] for own in correct)))
        elif metric == "accuracy":
            least, p = 0.0, significance.mcnemar_exact(*correct)
        scale, unit = (100, " points") if METRICS[metric].is_share else (1, "")
        estimate, low, high = (scale * end for end in (found.estimate, found.low, found.high))
        digits = 1 if unit else 3
        lines.append(
            f"ensemble minus {best.name}, its best member by val, in {METRICS[metric].label}: "
            f"{estimate:+z.{digits}f}{unit}, 95 % CI {low:z.{digits}f} to {high:z.{digits}f}, "
            f"{p_text(p, least)}"
        )
    return lines
