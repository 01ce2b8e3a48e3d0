"""What the order of the classes adds: how far a prediction is from the true class."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import cohen_kappa_score, mean_absolute_error

from dermaexp.metrics import intervals, resampling


def scores(targets: np.ndarray, predicted: np.ndarray, classes: int) -> dict[str, float]:
    """Quadratic-weighted kappa and mean absolute error in classes, of classes (N,) in order.

    Kappa (Cohen, Psychological Bulletin 70:213, 1968) is 1 for a perfect prediction and 0 for one
    by chance. It is NaN if targets and predictions are one and the same class.
    """
    labels = range(classes)
    is_one = len(np.union1d(targets, predicted)) == 1
    return {
        "quadratic_weighted_kappa": float("nan")
        if is_one
        else float(cohen_kappa_score(targets, predicted, labels=labels, weights="quadratic")),
        "mean_absolute_error": float(mean_absolute_error(targets, predicted)),
    }


def bootstrap_intervals(
    targets: np.ndarray,
    predicted: np.ndarray,
    classes: int,
    resamples: int = intervals.RESAMPLES,
) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals of the `scores` over resamples of the images."""
    cells = np.arange(classes**2)[:, None]
    in_cell = (targets * classes + predicted == cells).astype(np.float32)  # (K * K, N)
    distance = np.abs(np.subtract.outer(np.arange(classes), np.arange(classes)))
    weights, blocks = distance**2, []
    for counts in resampling.bootstrap_counts(len(targets), resamples):
        tables = (
            (in_cell @ counts.astype(np.float32)).astype(np.float64).reshape(classes, classes, -1)
        )
        by_chance = np.einsum("ib,jb,ij->b", tables.sum(1), tables.sum(0), weights) / len(targets)
        seen = np.einsum("ijb,ij->b", tables, weights)
        kappa = np.divide(seen, by_chance, out=np.full_like(seen, np.nan), where=by_chance > 0)
        blocks.append((1 - kappa, np.einsum("ijb,ij->b", tables, distance) / len(targets)))
    kappas, errors = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return {
        "quadratic_weighted_kappa": intervals.percentile_interval(kappas),
        "mean_absolute_error": intervals.percentile_interval(errors),
    }


def added(targets: np.ndarray, predicted: np.ndarray, classes: int) -> dict[str, Any]:
    """The `scores` with their intervals, as a split of metrics.json holds them."""
    found = scores(targets, predicted, classes)
    return {**found, "intervals": bootstrap_intervals(targets, predicted, classes)}
