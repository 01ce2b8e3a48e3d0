"""A run as an object: its numbers, its predictions, its figures and its model."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pandas as pd
from omegaconf import DictConfig

from dermaexp.metrics.labels import answer_text
from dermaexp.metrics.names import HEADLINES, METRICS
from dermaexp.metrics.predictions import Predictions
from dermaexp.report.figures import check, plot
from dermaexp.report.regenerate import config_of
from dermaexp.report.stored_run import StoredRun
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.finished import finished

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dermaexp.inference.evaluation import Evaluation
    from dermaexp.inference.predict import Images
    from dermaexp.inference.trained import TrainedModel


class Run:
    """A finished run in its directory; each part is read when it is asked for.

    A part that is missing raises UserError, a damaged file ValueError.
    """

    def __init__(self, path: str | Path) -> None:
        self.directory = RunDirectory(Path(path))
        self.record, self.metrics = finished(self.directory)

    @property
    def path(self) -> Path:
        return self.directory.path

    @property
    def name(self) -> str:
        return self.record["name"]

    @property
    def classes(self) -> list[str]:
        """The K class names, in the order of the labels."""
        return self.metrics["data"]["classes"]

    @cached_property
    def config(self) -> DictConfig:
        """The config as Hydra composed it."""
        return config_of(self.directory)

    @property
    def history(self) -> pd.DataFrame:
        """A row for each epoch."""
        return pd.DataFrame(self._stored.history)

    @property
    def predictions(self) -> Mapping[str, Predictions]:
        """Targets (N,) and probabilities (N, K) of "val" and "test"."""
        return {"val": self._stored.val, "test": self._stored.test}

    def figure(self, name: str, **options: Any) -> Figure:
        """Plot one of the run's figures, such as "confusion_matrix"."""
        check(name, options)
        return plot(name, self._stored, options)

    @cached_property
    def model(self) -> TrainedModel:
        """The model with its preprocessing, in eval mode: uint8 (N, C, H, W) to probabilities."""
        from dermaexp.inference.trained import trained_model

        return trained_model(self.directory)

    @cached_property
    def _stored(self) -> StoredRun:
        return StoredRun(self.directory, self.record, self.config)

    def predict(self, images: Images) -> pd.DataFrame:
        """Return a row for each image: its class, the confidence and all probabilities.

        Of several labels an image, "labels" names all above 0.5, and the confidence is the highest.
        `images` are paths, PIL images or arrays (H, W, C) of any size, or one array (N, H, W, C) or
        tensor (N, C, H, W), uint8.
        """
        from dermaexp.inference.predict import probabilities_of

        probabilities = probabilities_of(self.model, images)
        frame = pd.DataFrame(probabilities, columns=self.classes)
        frame.insert(0, "confidence", probabilities.max(axis=1))
        several = self.model.task == "multi-label"
        said = [answer_text(own, self.classes, several=several) for own in probabilities]
        frame.insert(0, "labels" if several else "class", said)
        return frame

    def evaluate(self, overrides: Sequence[str] = (), split: str | None = None) -> Evaluation:
        """Evaluate on the run's own data, or on a split of those of `overrides`.

        These are as on the command line, such as ["dataset=npz", "dataset.path=FILE"].
        """
        from dermaexp.inference.evaluate import evaluation

        return evaluation([self.path], overrides, split)

    def __repr__(self) -> str:
        test = cast(Mapping[str, Any], self.metrics["test"])
        scores = ", ".join(f"{METRICS[name].label} {test[name]:.4f}" for name in HEADLINES)
        return (
            f"Run({str(self.path)!r}: {self.name} on {self.metrics['data']['name']}, test {scores})"
        )

    def _repr_html_(self) -> str:
        numbers = cast(Mapping[str, Any], self.metrics)
        rows = {
            METRICS[name].label: [numbers[split][name] for split in ("val", "test")]
            for name in HEADLINES
        }
        table = pd.DataFrame.from_dict(rows, orient="index", columns=["val", "test"])
        title = html.escape(f"{self.name} on {self.metrics['data']['name']}")
        return f"<b>{title}</b>{table.to_html(float_format='{:.4f}'.format)}"
