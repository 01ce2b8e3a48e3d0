"""Confidence intervals of one run's numbers: what other images of the same kind may make of them.

All are pairs (low, high), NaN where the number is undefined.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import binomtest, norm

from dermaexp.metrics import significance

DRAWS = 2_000  # an end of the interval is then sure to about 1.5 % of its width
Z = norm.ppf(0.975)
ALMOST_1 = 1 - 1e-12


def wilson_interval(hits: int, samples: int) -> tuple[float, float]:
    """Wilson's 95 % score interval for a proportion (Wilson, JASA 22:209, 1927)."""
    if not samples:
        return float("nan"), float("nan")
    interval = binomtest(int(hits), int(samples)).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def auroc_interval(auroc: float, positives: int, negatives: int) -> tuple[float, float]:
    """95 % score interval of one AUROC: with few positives, and at 1, it holds where draws do not.

    Newcombe, Statistics in Medicine 25:559 (2006), method 5. NaN where the AUROC is.
    """
    if np.isnan(auroc):
        return float("nan"), float("nan")
    half = (positives + negatives) / 2 - 1

    def beyond(true: float) -> float:
        """Above 0 where the AUROC is further from `true` than Z standard errors at `true`."""
        spread = 1 + half * ((1 - true) / (2 - true) + true / (1 + true))
        variance = true * (1 - true) * spread / (positives * negatives)
        return (auroc - true) ** 2 - Z**2 * variance

    # At 0 and 1 there is no error: the ends lie between them and the AUROC.
    low = brentq(beyond, 0.0, min(auroc, ALMOST_1)) if auroc > 0 else 0.0
    high = brentq(beyond, max(auroc, 1 - ALMOST_1), 1.0) if auroc < 1 else 1.0
    return float(low), float(high)


def average_precision_interval(average_precision: float, positives: int) -> tuple[float, float]:
    """95 % interval, symmetric in the logit, from the number of samples of the class.

    Boyd, Eng & Page, Area under the Precision-Recall Curve, ECML PKDD 2013. NaN at 0 and 1.
    """
    if not 0 < average_precision < 1:
        return float("nan"), float("nan")
    half = Z / np.sqrt(positives * average_precision * (1 - average_precision))
    low, high = expit(logit(average_precision) + np.array([-half, half]))
    return float(low), float(high)


def bootstrap_intervals(
    targets: np.ndarray, probabilities: np.ndarray, draws: int = DRAWS
) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals over draws of the images, which are the same every time.

    A draw without any image of a class leaves it out of the mean. NaN for a number that (nearly) no
    draw changes, such as where all get one answer: of other images the draws then tell nothing. In
    simulations with DermaMNIST's class counts they hold the true value in 93 to 97 of 100 cases,
    those of macro F1 in 88 to 90.
    """
    replicates = significance.bootstrap(targets, [probabilities], draws)
    return {
        name: _percentiles(replicates[name][0])
        for name in ("balanced_accuracy", "macro_auroc", "macro_f1")
    }


def _percentiles(replicates: np.ndarray) -> tuple[float, float]:
    """The ends of the middle 95 % of the replicates that are numbers; NaN where they are equal."""
    defined = replicates[~np.isnan(replicates)]
    low, high = np.percentile(defined, (2.5, 97.5)) if len(defined) else (0.0, 0.0)
    if high - low < 1e-9:
        return float("nan"), float("nan")
    return float(low), float(high)
