"""A run's numbers on its own data, computed again in the way that they were computed first."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from pytorch_lightning.callbacks import Timer

from dermaexp.data.datamodule import ImageDataModule
from dermaexp.inference.trained import (
    config_to_load,
    naming_the_checkpoint,
    tested_weights,
    transform_as_trained,
)
from dermaexp.metrics.predictions import Predictions
from dermaexp.report.stored_run import StoredRun
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.finished import finished
from dermaexp.runs.record import RunRecord
from dermaexp.training import experiment, steps
from dermaexp.training.build import build_classifier, build_data, build_trainer


class Repeated(NamedTuple):
    """The predictions of "val" and "test", and the numbers as they stand in metrics.json."""

    predictions: dict[str, Predictions]
    numbers: dict[str, Any]
    data: ImageDataModule
    device: dict[str, Any]  # as in run.json


def repeat(directory: RunDirectory) -> Repeated:
    """Predict val and test with the run's own Trainer, batches and weights, and evaluate.

    Uses the run's kind of device, or the CPU where there is none. Raises UserError for a run that
    has not finished, for data that are missing or have changed, and as `trained_model` does.
    """
    record, metrics = finished(directory)
    config = config_to_load(record, metrics)
    splits = StoredRun(directory, record, config).splits
    path, weights = tested_weights(directory, metrics)
    config.callbacks = {}
    one_device = {"accelerator": accelerator_of(record), "devices": 1, "num_nodes": 1}
    config.trainer.update({**one_device, "strategy": "auto"})
    data = build_data(config, splits)
    with _as_the_run(record):
        classifier = build_classifier(config, data)
        transform_as_trained(classifier.net, record)
        trainer = build_trainer(config, directory, Timer(verbose=False))
        with naming_the_checkpoint(path):
            classifier.load_state_dict(weights)
        predictions = steps.predict(trainer, classifier, data, weights)
        device = experiment.describe_device(trainer)
    numbers = steps.evaluate(predictions, data, calibrate="calibration" in metrics)
    return Repeated(predictions, numbers, data, device)


def accelerator_of(record: RunRecord) -> str:
    """Return the kind of device that the run used, "cpu" where this machine has none."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    kind = record["device"]["type"]
    return kind if there.get(kind) else "cpu"


def differences(numbers: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, float]:
    """Map each number of both, such as "test.loss", to how far it is from the stored one.

    Infinite where one of the two is undefined, or where they are different text.
    """
    first, second = dict(_leaves(numbers)), dict(_leaves(stored))
    return {key: _distance(first[key], second[key]) for key in first if key in second}


def _distance(first: Any, second: Any) -> float:
    if first == second:
        return 0.0
    if isinstance(first, (int, float)) and isinstance(second, (int, float)):
        return abs(first - second)
    return float("inf")


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    else:
        undefined = isinstance(value, float) and not abs(value) < float("inf")
        yield path, None if undefined else value  # as in JSON


@contextlib.contextmanager
def _as_the_run(record: RunRecord) -> Iterator[None]:
    """Compute with the run's number of threads, on which sums depend.

    Lightning prints none of its hints meanwhile. The process's random numbers stay as they are.
    """
    threads, then = torch.get_num_threads(), dict(record["device"]).get("threads")
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    if isinstance(then, int):
        torch.set_num_threads(then)
    try:
        with torch.random.fork_rng(), warnings.catch_warnings(action="ignore"):
            yield
    finally:
        torch.set_num_threads(threads)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
