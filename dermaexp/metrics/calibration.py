"""Temperature scaling: calibrates probabilities by one number that is fitted on val.

Guo, Pleiss, Sun & Weinberger, On Calibration of Modern Neural Networks, ICML 2017.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, logit

from dermaexp.metrics import classification

HOTTEST = 100.0  # the search runs from its inverse to it


class Temperature(NamedTuple):
    """`at_limit` is set if the loss is smallest at an end of the search."""

    value: float
    at_limit: bool


def fit_temperature(targets: np.ndarray, probabilities: np.ndarray) -> Temperature:
    """The T that minimises the loss of `calibrated`, for targets (N,) and p (N, K).

    Several labels an image, targets and p (N, L), have one T in common.
    The loss has one minimum in T. It lies at 0 if every prediction is correct, and at infinity if
    the probabilities are no better than a guess: no temperature helps in either case.
    """
    if targets.ndim == 2:
        odds = np.where(targets == 1, 1, -1) * _log_odds(probabilities)

        def loss(log_temperature: float) -> float:
            return np.logaddexp(0, -odds / np.exp(log_temperature)).mean()

    else:
        logits = _logits(probabilities)
        of_targets = np.arange(len(targets)), targets

        def loss(log_temperature: float) -> float:
            return -log_softmax(logits / np.exp(log_temperature), axis=1)[of_targets].mean()

    bounds = (-np.log(HOTTEST), np.log(HOTTEST))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return Temperature(float(np.exp(found.x)), bool(min(map(loss, bounds)) <= found.fun))


def calibrated(
    probabilities: np.ndarray, temperature: float, *, several: bool = False
) -> np.ndarray:
    """softmax(log p / T), (N, K) float64; of several labels an image, sigmoid(logit(p) / T).

    The order of an image's classes stays the same, and so does accuracy. The order of images
    within a class can change, and AUROC slightly with it.
    """
    if several:
        return expit(_log_odds(probabilities) / temperature)
    return np.exp(log_softmax(_logits(probabilities) / temperature, axis=1))


def calibration(
    val: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]
) -> dict[str, Any]:
    """The temperature, with loss and calibration error before and after, as in metrics.json.

    `val` and `test` are targets (N,) or (N, L) and probabilities (N, K). The calibrated
    numbers of val are optimistic, as the temperature was fitted on it.
    """
    temperature, at_limit = fit_temperature(*val)
    numbers: dict[str, Any] = {
        "temperature": temperature,
        "at_limit": at_limit,
        "fitted_on": "val",
    }
    for split, (targets, probabilities) in (("val", val), ("test", test)):
        numbers[split] = {
            "raw": _quality(targets, probabilities),
            "calibrated": _quality(
                targets, calibrated(probabilities, temperature, several=targets.ndim == 2)
            ),
        }
    return numbers


def _quality(targets: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    return {
        "loss": classification.cross_entropy(targets, probabilities),
        "expected_calibration_error": classification.expected_calibration_error(
            targets, probabilities
        ),
    }


def _logits(probabilities: np.ndarray) -> np.ndarray:
    """Logits up to a constant per image; a probability of 0 counts as the smallest float32."""
    smallest = np.finfo(np.float32).tiny
    return np.log(np.maximum(probabilities, smallest).astype(np.float64))


def _log_odds(probabilities: np.ndarray) -> np.ndarray:
    """log p / (1 - p); the ends count as the nearest float32 that is between them."""
    p = probabilities.astype(np.float64)
    types = np.finfo(np.float32)
    return logit(p.clip(types.tiny, 1 - types.epsneg))
