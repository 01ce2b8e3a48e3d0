"""The scores of one class predicted always, from counts alone, without scikit-learn."""

from __future__ import annotations

import numpy as np


def headline_scores(counts: np.ndarray, label: int) -> dict[str, float]:
    """The headline scores of predicting `label` always; `counts` (K,) are samples of each class.

    Equal to those of `classification.headline_scores`: without samples, `label` counts in the mean
    F1 as a class that is predicted, and in balanced accuracy it does not.
    """
    hits, samples, present = int(counts[label]), int(counts.sum()), int(np.count_nonzero(counts))
    return {
        "accuracy": hits / samples,
        "balanced_accuracy": (hits > 0) / present,
        "macro_auroc": 0.5,  # it ranks nothing
        "macro_f1": 2 * hits / (hits + samples) / (present + (hits == 0)),
    }
