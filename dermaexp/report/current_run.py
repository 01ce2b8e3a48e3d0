"""A run's data while Lightning runs it, for callbacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
from pytorch_lightning import LightningModule, Trainer

from dermaexp.data.datamodule import ImageDataModule
from dermaexp.metrics.predictions import Predictions
from dermaexp.runs.directory import RunDirectory


class CurrentRun:
    """The RunData of a run that Lightning is in the middle of."""

    def __init__(self, trainer: Trainer, module: LightningModule) -> None:
        self.directory = RunDirectory(trainer.default_root_dir)
        # Lightning sets both, but declares neither.
        self.data: ImageDataModule = trainer.datamodule  # type: ignore[attr-defined]
        self.predictions = cast(Mapping[str, Predictions], module.predictions)
        self.data_title = self.data.splits.title
        self.classes: Sequence[str] = self.data.splits.classes
        self.train_labels = self.data.splits.train.labels

    @property
    def name(self) -> str:
        return self.directory.read_run()["name"]

    @property
    def test_part(self) -> str:
        return self.data.splits.part("test", len(self.test.targets))

    @property
    def history(self) -> Sequence[Mapping[str, float]]:
        return self.directory.read_history()

    @property
    def val(self) -> Predictions:
        return self.predictions["val"]

    @property
    def test(self) -> Predictions:
        return self.predictions["test"]

    @property
    def train_images(self) -> np.ndarray:
        return self.data.images["train"].images.numpy()

    @property
    def test_images(self) -> np.ndarray:
        return self.data.images["test"].images.numpy()[self.data.used["test"]]
