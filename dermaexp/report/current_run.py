"""A run's data while Lightning runs it, for callbacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from dermaexp.data.datamodule import ImageDataModule
from dermaexp.data.mapped import Images, taken
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
    def train_images(self) -> Images:
        return self._images("train")

    @property
    def test_images(self) -> Images:
        return taken(self._images("test"), self.data.used["test"])

    def _images(self, split: str) -> Images:
        images = self.data.images[split].images
        return images.numpy() if isinstance(images, Tensor) else images
