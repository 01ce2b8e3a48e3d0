"""The Lightning callback that plots a figure of the run at its moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
from pytorch_lightning import Callback, LightningModule, Trainer

from dermaexp.data.datamodule import ImageDataModule
from dermaexp.metrics.predictions import Predictions
from dermaexp.report import figures
from dermaexp.report.style import write_figure
from dermaexp.runs.directory import RunDirectory


class DrawFigure(Callback):
    """Writes figures/`figure`.png, one of `figures.FIGURES`, on global rank zero."""

    changes_numbers = False

    def __init__(self, figure: str, **options: int) -> None:
        """Raises UserError for a figure that is unknown, or options that it does not take."""
        figures.check(figure, options)
        self.figure = figure
        self.options = options

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._draw("fit_start", trainer, module)

    def on_fit_end(self, trainer: Trainer, module: LightningModule) -> None:
        self._draw("fit_end", trainer, module)

    def on_test_end(self, trainer: Trainer, module: LightningModule) -> None:
        self._draw("test_end", trainer, module)

    def _draw(self, moment: figures.Moment, trainer: Trainer, module: LightningModule) -> None:
        if trainer.is_global_zero and figures.FIGURES[self.figure].moment == moment:
            run = CurrentRun(trainer, module)
            figure = figures.plot(self.figure, run, self.options)
            write_figure(run.directory.path, self.figure, figure)


class CurrentRun:
    """The RunData of the run that `trainer` is in the middle of."""

    def __init__(self, trainer: Trainer, module: LightningModule) -> None:
        self.directory = RunDirectory(trainer.default_root_dir)
        # Lightning sets both, but declares neither.
        self.data: ImageDataModule = trainer.datamodule  # type: ignore[attr-defined]
        self.predictions = cast(Mapping[str, Predictions], module.predictions)

    @property
    def name(self) -> str:
        return self.directory.read_run()["name"]

    @property
    def data_title(self) -> str:
        return self.data.splits.title

    @property
    def test_part(self) -> str:
        return self.data.splits.part("test", len(self.test.targets))

    @property
    def classes(self) -> Sequence[str]:
        return self.data.splits.classes

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
    def train_labels(self) -> np.ndarray:
        return self.data.splits.train.labels

    @property
    def test_images(self) -> np.ndarray:
        return self.data.images["test"].images.numpy()[self.data.used["test"]]
