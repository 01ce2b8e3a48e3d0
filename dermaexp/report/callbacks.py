"""The Lightning callback that plots a figure of the run at its moment."""

from __future__ import annotations

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from dermaexp.report import figures, waiting
from dermaexp.report.current_run import CurrentRun


class DrawFigure(Callback):
    """Writes figures/`figure`.png, one of `figures.FIGURES`, on global rank zero.

    A dotted name, such as own.figure.confidence, is a function of one's own: it takes the RunData
    and the options and returns a Matplotlib figure.
    """

    changes_numbers = False

    def __init__(self, figure: str, **options: Any) -> None:
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
        if trainer.is_global_zero and figures.figure_of(self.figure).moment == moment:
            run = CurrentRun(trainer, module)
            plot = figures.prepared(self.figure, run, self.options)
            folder, name = run.directory.path, figures.file_stem(self.figure)
            if figures.is_own(self.figure):  # it takes what it likes of the run: now
                waiting.write(folder, [(name, plot)])
            else:
                waiting.draw(folder, name, plot)
