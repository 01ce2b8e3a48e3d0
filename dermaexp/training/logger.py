"""The logger that Lightning's callbacks ask for, such as LearningRateMonitor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger


class NoLogger(Logger):
    """Keeps nothing, as history.csv and metrics.json hold the numbers; names the run's folder.

    Some callbacks refuse a trainer without a logger, and others write where it says.
    """

    name = ""
    version = ""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    @property
    def save_dir(self) -> str:
        return str(self.folder)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        pass

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        pass
