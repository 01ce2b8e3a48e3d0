"""What a run's page shows of its final numbers."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from dermaexp.metrics import intervals
from dermaexp.metrics.baseline import Baseline, baseline_of
from dermaexp.metrics.names import CLASS_METRICS, HEADLINES, METRICS, labels_of
from dermaexp.metrics.operating_points import HIGHLIGHTED
from dermaexp.report import html, leak
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.metrics_file import OperatingPoint


def results_of(directory: RunDirectory) -> dict[str, Any] | None:
    """Return the final numbers and the majority baseline's; None before metrics.json is written.

    Raises ValueError for a file that cannot be read.
    """
    if not directory.has_metrics():
        return None
    numbers = directory.read_metrics()
    baseline = baseline_of(numbers)
    return {
        **numbers,
        "baseline": baseline.scores,
        "labels": labels_of(*METRICS),
        "class_labels": {key: label[0].upper() + label[1:] for key, label in CLASS_METRICS.items()},
        "verdict": _verdict(np.array(numbers["test"]["confusion_matrix"]), baseline),
        "resamples": intervals.RESAMPLES,
        "highlighted": HIGHLIGHTED,
        "found": _found(numbers["operating_points"]["classes"].get(HIGHLIGHTED)),
        "calibration": numbers.get("calibration"),
        "leak": {
            "reading": leak.reading(numbers),
            "columns": leak.columns(numbers),
            "labels": labels_of(*HEADLINES),
        },
    }


def _verdict(confusion: np.ndarray, baseline: Baseline) -> str:
    """Compare the test accuracy with the majority baseline, in a sentence or two."""
    hits, samples = int(np.trace(confusion)), int(confusion.sum())
    low, high = intervals.wilson_interval(hits, samples)
    beside = baseline.beside(hits / samples, baseline.p_of_one_run(confusion), "the run")
    return (
        f"On test, {hits:,} of {samples:,} images are classified correctly: an accuracy of "
        f"{html.percent(hits / samples)}, with a 95\N{NO-BREAK SPACE}% Wilson interval from "
        f"{html.percent(low)} to {html.percent(high)}. {beside}"
    )


def _found(point: OperatingPoint | None) -> str:
    """Describe the highlighted class's operating point on test; "" if it is undefined."""
    if point is None:
        return ""
    sides: tuple[Literal["sensitivity"], Literal["specificity"]] = ("sensitivity", "specificity")
    found = []
    for side in sides:
        share = point["test"][side]
        low, high = point["test"]["intervals"][side]
        if share is None or low is None or high is None:
            return ""
        found.append(
            f"a {side} of {html.percent(share)} (95\N{NO-BREAK SPACE}% Wilson interval "
            f"{html.percent(low)} to {html.percent(high)})"
        )
    return f"For {HIGHLIGHTED}, the threshold chosen on val has {' and '.join(found)} on test."
