"""A run's figures again, from its directory: no torch here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from dermaexp.core.errors import UserError, line_of, one_line
from dermaexp.data.gray import prepared
from dermaexp.data.load import load_splits
from dermaexp.data.sample import spread
from dermaexp.data.splits import Splits
from dermaexp.metrics.predictions import Predictions
from dermaexp.runs.directory import RunDirectory

CALLBACK = "dermaexp.report.callbacks.DrawFigure"
KEYS = ("_target_", "figure")  # the others are options of the figure


def regenerate(directory: RunDirectory) -> list[str]:
    """Plot and write again the figures that the run's config asked for.

    Returns a line for those that are not, with the reason, such as data that have changed since.
    A run.json that is missing or damaged is left to the page to report.
    """
    try:
        run = StoredRun(directory)
        asked = dict(_figures(run.config))
    except (FileNotFoundError, ValueError):
        return []
    except UserError as error:
        return [f"no figure is regenerated: {error}"]
    if not asked or "data" not in run.run:  # a run that ended before it had data
        return []
    from dermaexp.report import figures  # with Matplotlib, which takes a second to import
    from dermaexp.report.style import write_figure

    foreign = {figure.stem for figure in directory.foreign_figures()}
    failed: dict[str, list[str]] = {}  # why -> figures
    for name, options in asked.items():
        try:
            if name in foreign:
                raise UserError("another program wrote that file")
            write_figure(directory.path, name, figures.plot(name, run, options))
        except (UserError, ValueError) as error:
            failed.setdefault(str(error), []).append(name)
    return [f"not regenerated: {', '.join(names)}: {why}" for why, names in failed.items()]


def _figures(config: DictConfig) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each figure that a callback of `config` plots, with its options."""
    for callback in (config.callbacks or {}).values():
        if callback and callback.get("_target_") == CALLBACK:
            options = OmegaConf.to_container(callback, resolve=True)
            assert isinstance(options, dict)
            yield options["figure"], {str(key): options[key] for key in options if key not in KEYS}


def _config(file: Path) -> DictConfig:
    """Return the config of a run as Hydra recorded it."""
    if not file.exists():
        raise UserError(f"{file} is missing")
    try:
        config = OmegaConf.load(file)
    except (OSError, ValueError, YAMLError) as error:
        raise UserError(f"{file} cannot be read: {one_line(error)}") from error
    if not isinstance(config, DictConfig):
        raise UserError(f"{file} is no config")
    return config


class StoredRun:
    """The RunData of a run that has ended; UserError for a part of it that is not there."""

    def __init__(self, directory: RunDirectory) -> None:
        """Raises UserError where the run's config is not there or cannot be read."""
        self.directory = directory
        self.run = directory.read_run()
        self.config = _config(directory.path / ".hydra" / "config.yaml")

    @property
    def name(self) -> str:
        return self.run["name"]

    @property
    def data_title(self) -> str:
        return self.run["data"]["name"]

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
    def train_images(self) -> np.ndarray:
        return prepared(self.splits.train.images, self.config.dataset.grayscale)

    @property
    def train_labels(self) -> np.ndarray:
        return self.splits.train.labels

    @property
    def test_images(self) -> np.ndarray:
        used = spread(self.splits.test.labels, len(self.test.targets))
        return prepared(self.splits.test.images[used], self.config.dataset.grayscale)

    @cached_property
    def splits(self) -> Splits:
        """The run's data, loaded again as its config says."""
        start = Path(self.run["start"]["folder"])  # which relative paths mean
        try:
            with contextlib.chdir(start if start.is_dir() else Path.cwd()):
                splits = load_splits(self.config.dataset)
        except Exception as error:
            raise UserError(f"the data cannot be loaded: {line_of(error)}") from error
        if splits.fingerprint != self.run["data"]["fingerprint"]:
            raise UserError("the data have changed since the run")
        return splits

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        if not self.directory.has_predictions():
            raise UserError("the run has no predictions.npz")
        return self.directory.read_predictions()

    def _predictions(self, split: str) -> Predictions:
        return Predictions(self._arrays[f"{split}_targets"], self._arrays[f"{split}_probabilities"])
