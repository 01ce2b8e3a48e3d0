"""Confidence intervals of one run's numbers; they cover the sampling of images.

All are pairs (low, high), NaN if the number is undefined.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import binomtest, norm

from dermaexp.metrics import resampling

RESAMPLES = 2_000  # ends then vary by about 1.5 % of the interval's width
Z = norm.ppf(0.975)
ALMOST_1 = 1 - 1e-12


def wilson_interval(hits: int, samples: int) -> tuple[float, float]:
    """Wilson's 95 % score interval for a proportion (Wilson, JASA 22:209, 1927)."""
    if not samples:
        return float("nan"), float("nan")
    interval = binomtest(int(hits), int(samples)).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def auroc_interval(auroc: float, positives: int, negatives: int) -> tuple[float, float]:
    """95 % score interval of one AUROC; unlike a bootstrap it holds with few positives and at 1.

    Newcombe, Statistics in Medicine 25:559 (2006), method 5. NaN if the AUROC is.
    """
    if np.isnan(auroc):
        return float("nan"), float("nan")
    half = (positives + negatives) / 2 - 1

    def beyond(true: float) -> float:
        """Positive if the AUROC is more than Z standard errors away from `true`."""
        spread = 1 + half * ((1 - true) / (2 - true) + true / (1 + true))
        variance = true * (1 - true) * spread / (positives * negatives)
        return (auroc - true) ** 2 - Z**2 * variance

    # The standard error is 0 at 0 and 1: the ends lie between them and the AUROC.
    low = brentq(beyond, 0.0, min(auroc, ALMOST_1)) if auroc > 0 else 0.0
    high = brentq(beyond, max(auroc, 1 - ALMOST_1), 1.0) if auroc < 1 else 1.0
    return float(low), float(high)


def average_precision_interval(average_precision: float, positives: int) -> tuple[float, float]:
    """95 % interval, symmetric in the logit; `positives` is the number of samples of the class.

    Boyd, Eng & Page, Area under the Precision-Recall Curve, ECML PKDD 2013. NaN at 0 and 1.
    """
    if not 0 < average_precision < 1:
        return float("nan"), float("nan")
    half = Z / np.sqrt(positives * average_precision * (1 - average_precision))
    low, high = expit(logit(average_precision) + np.array([-half, half]))
    return float(low), float(high)


def bootstrap_intervals(
    targets: np.ndarray, probabilities: np.ndarray, resamples: int = RESAMPLES
) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals over resamples of the images, with a fixed seed.

    A resample without images of a class leaves it out of the mean. NaN for a number that (nearly)
    no resample changes, such as when all images get one prediction: the bootstrap then says nothing
    of other images. In simulations with DermaMNIST's class counts the intervals cover the true
    value in 93 to 97 of 100 cases, those of macro F1 in 88 to 90.
    """
    resampled = resampling.bootstrap(targets, [probabilities], resamples)
    if targets.ndim == 1:
        del resampled["accuracy"]  # Wilson's interval is exact
    return {name: percentile_interval(values) for name, (values,) in resampled.items()}


def percentile_interval(resampled: np.ndarray) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile, without NaN values; NaN if both are equal."""
    defined = resampled[~np.isnan(resampled)]
    low, high = np.percentile(defined, (2.5, 97.5)) if len(defined) else (0.0, 0.0)
    if high - low < 1e-9:
        return float("nan"), float("nan")
    return float(low), float(high)


def unbiased_interval(resampled: np.ndarray, estimate: float) -> tuple[float, float]:
    """The percentile interval of a share, moved by how far the resamples' mean is off `estimate`.

    That is the bootstrap's own estimate of bias (Efron & Tibshirani, An Introduction to the
    Bootstrap, 1993, chapter 10): an image that is drawn twice raises average precision, so that
    without it the interval may not contain the estimate. NaN as in `percentile_interval`.
    """
    bias = np.nanmean(resampled) - estimate if np.isfinite(resampled).any() else 0.0
    low, high = np.clip(np.array(percentile_interval(resampled)) - bias, 0.0, 1.0)
    return float(low), float(high)
