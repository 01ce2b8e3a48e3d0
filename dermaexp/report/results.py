"""What a run's page shows of its final numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from dermaexp.metrics import intervals
from dermaexp.metrics.baseline import Baseline, baseline_of
from dermaexp.metrics.names import CLASS_METRICS, HEADLINES, METRICS, labels_of
from dermaexp.metrics.operating_points import HIGHLIGHTED
from dermaexp.report import html, leak
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.metrics_file import Metrics, OperatingPoint


def results_of(directory: RunDirectory) -> dict[str, Any] | None:
    """Return the final numbers and the majority baseline's; None before metrics.json is written.

    Raises ValueError for a file that cannot be read.
    """
    if not directory.has_metrics():
        return None
    numbers = directory.read_metrics()
    baseline = baseline_of(numbers)
    test = numbers["test"]
    return {
        **numbers,
        "headlines": {
            label: [
                *_measured(numbers["val"], key),
                *_measured(test, key),
                baseline.scores.get(key),
            ]
            for key, label in labels_of(*METRICS).items()
        },
        "verdict": _verdict(np.array(test["confusion_matrix"]), baseline),
        "resamples": intervals.RESAMPLES,
        "class_headings": [
            "Images",
            *(label[0].upper() + label[1:] for label in CLASS_METRICS.values()),
        ],
        "per_class": {
            name: (own["samples"], [_measured(own, key) for key in CLASS_METRICS])
            for name, own in test["per_class"].items()
        },
        "operating_points": _operating_points(numbers),
        "calibration": numbers.get("calibration"),
        "leak": _leak(numbers),
    }


def _leak(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of clean and leaked test images, and a sentence; "" if there are none."""
    columns = leak.columns(numbers)
    rows = {
        label: [own.get(key) for own in columns.values()]
        for key, label in labels_of(*HEADLINES).items()
    }
    return {"reading": leak.reading(numbers), "headings": list(columns), "rows": rows}


def _measured(numbers: Mapping[str, Any], key: str) -> tuple[float | None, str]:
    """Return a number and its interval as text; None and "" if it is undefined or unknown."""
    return numbers.get(key), _interval(numbers.get("intervals", {}).get(key))


def _interval(ends: Sequence[float | None] | None) -> str:
    texts = [html.fixed(end, 3) for end in ends or ()]
    return "\N{EN DASH}".join(texts) if all(texts) else ""


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


def _operating_points(numbers: Metrics) -> dict[str, Any]:
    """Return rows of numbers by class, the highlighted class, and a sentence about its point."""
    points = numbers["operating_points"]
    rows = {
        name: [
            (point["threshold"], ""),
            *((point["val"][side], "") for side in ("sensitivity", "specificity")),
            *(_measured(point["test"], side) for side in ("sensitivity", "specificity")),
            (numbers["test"]["per_class"][name]["sensitivity_at_95_specificity"], ""),
        ]
        for name, point in points["classes"].items()
    }
    return {
        "specificity": points["specificity"],
        "rows": rows,
        "highlighted": HIGHLIGHTED if HIGHLIGHTED in rows else None,
        "found": _found(points["classes"].get(HIGHLIGHTED)),
    }


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
