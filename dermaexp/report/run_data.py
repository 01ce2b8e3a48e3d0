"""What figures show of a run, whether it is running or has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from dermaexp.data.mapped import Images
from dermaexp.metrics.predictions import Predictions


class RunData(Protocol):
    """The data of a run: `CurrentRun` or `StoredRun`, which read each part when it is needed."""

    @property
    def name(self) -> str:
        """The run's name."""

    @property
    def data_title(self) -> str:
        """The data's name, which says so if they are synthetic."""

    @property
    def test_part(self) -> str:
        """ "test", with the number of images if only some were used."""

    @property
    def classes(self) -> Sequence[str]:
        """The K class names, in the order of the labels."""

    @property
    def history(self) -> Sequence[Mapping[str, float]]:
        """The rows of history.csv, an epoch each."""

    @property
    def val(self) -> Predictions: ...

    @property
    def test(self) -> Predictions: ...

    @property
    def train_images(self) -> Images:
        """(N, H, W, C) uint8 as the model gets them, before augmentation."""

    @property
    def train_labels(self) -> np.ndarray:
        """(N,) int64, or indicators (N, L) of several labels an image."""

    @property
    def test_images(self) -> Images:
        """(N, H, W, C) uint8 of the predictions `test`."""
