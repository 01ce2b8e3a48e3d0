"""A model's answers on one split; every metric takes them in scikit-learn's order."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Predictions(NamedTuple):
    """Targets and probabilities in the split's order, so that `metric(*predictions)` works."""

    targets: np.ndarray  # (N,) int64, or indicators (N, L)
    probabilities: np.ndarray  # (N, K) float32
