"""A run's data from its directory, without torch."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from dermaexp.core.errors import UserError, line_of
from dermaexp.data.gray import prepared_lazily
from dermaexp.data.load import load_splits
from dermaexp.data.mapped import Images, taken
from dermaexp.data.sample import spread
from dermaexp.data.splits import Splits
from dermaexp.metrics.predictions import Predictions
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.record import RunRecord


class StoredRun:
    """The RunData of a run that has ended.

    A part raises UserError where it is missing, ValueError where its file is damaged.
    """

    def __init__(self, directory: RunDirectory, record: RunRecord, config: DictConfig) -> None:
        self.directory = directory
        self.record = record
        self.config = config
        self.name = record["name"]
        self.data_title = record["data"]["name"]

    @property
    def test_part(self) -> str:
        if self.config.trainer.get("limit_test_batches") is None:
            return "test"
        return self.splits.part("test", len(self.test.targets))

    @property
    def classes(self) -> Sequence[str]:
        if self.directory.has_metrics():
            return self.directory.read_metrics()["data"]["classes"]
        return self.splits.classes

    @property
    def history(self) -> Sequence[Mapping[str, float]]:
        if not self.directory.has_history():
            raise UserError("the run has no history.csv")
        return self.directory.read_history()

    @property
    def val(self) -> Predictions:
        return self._predictions("val")

    @property
    def test(self) -> Predictions:
        return self._predictions("test")

    @property
    def train_images(self) -> Images:
        return prepared_lazily(self.splits.train.images, self.config.dataset.grayscale)

    @property
    def train_labels(self) -> np.ndarray:
        return self.splits.train.labels

    @property
    def test_images(self) -> Images:
        return self.predicted_images("test")[0]

    def predicted_images(self, split: str) -> tuple[Images, np.ndarray]:
        """Return the images (N, H, W, C) of the predictions of "val" or "test", and their places.

        The places (N,) count the split's images from 0: a run may be limited to some of them.
        """
        part = self.splits[split]
        used = spread(part.labels, len(self._predictions(split).targets))
        images = taken(part.images, used)
        return prepared_lazily(images, self.config.dataset.grayscale), used

    @cached_property
    def splits(self) -> Splits:
        """The data that the run's config describes; UserError unless they are still the same."""
        start = self.record.get("start")  # relative paths mean its folder
        folder = Path(start["folder"]) if start else Path.cwd()
        try:
            with contextlib.chdir(folder if folder.is_dir() else Path.cwd()):
                splits = load_splits(self.config.dataset)
        except Exception as error:
            raise UserError(f"the data cannot be loaded: {line_of(error)}") from error
        if splits.fingerprint != self.record["data"]["fingerprint"]:
            raise UserError("the data have changed since the run")
        return splits

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        if not self.directory.has_predictions():
            raise UserError("the run has no predictions.npz")
        return self.directory.read_predictions()

    def _predictions(self, split: str) -> Predictions:
        try:
            return Predictions(*(self._arrays[f"{split}_{field}"] for field in Predictions._fields))
        except KeyError as error:
            raise ValueError(f"predictions.npz: no {error.args[0]}") from error
