"""Time the bootstrap of a comparison against a plain loop: python -m benchmarks bootstrap

Two runs on a test set of DermaMNIST's size, 10,000 resamples of its images, four metrics.
Baseline, in the same process, on the same predictions:
  plain loop   compute dermaexp.metrics by scikit-learn on each resample; 100 of them, scaled up
"""

from __future__ import annotations

import time

import numpy as np

from benchmarks.measure import Table, alternate, compared
from dermaexp.metrics import classification, resampling

CLASS_COUNTS = (66, 103, 220, 23, 223, 1341, 29)  # of DermaMNIST's test split
LOOP_RESAMPLES = 100


def runs(count: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return targets (N,), and probabilities (N, K) of `count` weak models."""
    generator = np.random.default_rng(0)
    classes = len(CLASS_COUNTS)
    targets = np.repeat(np.arange(classes), CLASS_COUNTS)
    logits = generator.normal(size=(count, len(targets), classes)) + 2 * np.eye(classes)[targets]
    exponentials = np.exp(logits)
    return targets, list((exponentials / exponentials.sum(axis=2, keepdims=True)).astype("f4"))


def plain_loop(targets: np.ndarray, probabilities: list[np.ndarray], resamples: int) -> None:
    generator = np.random.default_rng(0)
    for _ in range(resamples):
        chosen = generator.integers(0, len(targets), len(targets))
        for run in probabilities:
            auroc = classification.macro_auroc(targets[chosen], run[chosen])
            classification.headline_scores(targets[chosen], run[chosen].argmax(axis=1), auroc)


def measure() -> list[Table]:
    targets, probabilities = runs(2)

    def loop() -> float:
        started = time.perf_counter()
        plain_loop(targets, probabilities, LOOP_RESAMPLES)
        return (time.perf_counter() - started) * resampling.RESAMPLES / LOOP_RESAMPLES

    def ours() -> None:
        resampling.bootstrap(targets, probabilities)

    sides = alternate({"dermaexp": ours, "plain loop (estimated)": loop}, rounds=3)
    return [Table("10,000 resamples of two runs", compared(sides, "dermaexp"))]
