"""What a run's page shows of its final numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from dermaexp.core.grid import Cell, Grid
from dermaexp.core.tasks import Task, task_of
from dermaexp.metrics import intervals
from dermaexp.metrics.baseline import Baseline, baseline_of
from dermaexp.metrics.names import CLASS_METRICS, HEADLINES, labels_of, measures
from dermaexp.metrics.operating_points import HIGHLIGHTED
from dermaexp.report import html, leak
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.metrics_file import OperatingPoint

SIDES: tuple[Literal["sensitivity"], Literal["specificity"]] = ("sensitivity", "specificity")

CAPTION = (
    "Final numbers on {:,} val and {:,} test images, with 95\N{NO-BREAK SPACE}% intervals: Wilson "
    "for accuracy, bootstrap with {:,} resamples of the images for the others (slightly too narrow "
    "for macro F1). Loss is the mean cross-entropy in nats. The majority baseline always predicts "
    "the largest training class."
)
CAPTIONS: dict[Task, str] = {  # of the table of numbers, where it is another one
    "multi-label": (
        "Final numbers on {:,} val and {:,} test images, with 95\N{NO-BREAK SPACE}% intervals: "
        "Wilson for subset accuracy, bootstrap with {:,} resamples of the images for the others. "
        "Accuracy is the share of all labels of all images that are predicted correctly at 0.5, "
        "subset accuracy that of images with all labels correct. Loss is the mean binary "
        "cross-entropy of the labels in nats. The majority baseline always predicts the labels "
        "that most training images have."
    ),
    "ordinal": (
        f"{CAPTION} Kappa with quadratic weights is 1 for a perfect prediction and 0 for one by "
        "chance; the mean absolute error counts classes."
    ),
    "binary": (
        f"{CAPTION} Sensitivity and specificity are at a probability of 0.5 and have Wilson's "
        "intervals; the second class is the one to find."
    ),
}


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
        "task": task_of(numbers["data"]),
        "caption": CAPTIONS.get(task_of(numbers["data"]), CAPTION),
        "verdict": _verdict(numbers, baseline),
        "resamples": intervals.RESAMPLES,
        "found": _found(numbers["operating_points"]["classes"].get(HIGHLIGHTED)),
        "calibration": numbers.get("calibration"),
        "leak": leak.reading(numbers),
        "tables": _tables(numbers, baseline),
    }


def _tables(numbers: Mapping[str, Any], baseline: Baseline) -> dict[str, Grid]:
    """The tables of numbers, by the section of the page that they are in."""
    val, test, kinds = numbers["val"], numbers["test"], ("raw", "calibrated")
    interval = "95\N{NO-BREAK SPACE}% interval"
    scores = [("Val", val), (interval, val["intervals"]), ("Test", test)]
    scores += [(interval, test["intervals"]), ("Majority baseline, test", baseline.scores)]
    points = [
        [Cell(name, strong=name == HIGHLIGHTED), point["threshold"]]
        + [point["val"][side] for side in SIDES]
        + [Cell(point["test"][side], point["test"]["intervals"][side]) for side in SIDES]
        + [test["per_class"][name]["sensitivity_at_95_specificity"]]
        for name, point in numbers["operating_points"]["classes"].items()
    ]
    sides = [f"{split} {side}" for split in ("Val", "Test") for side in SIDES]
    tables = {
        "results": Grid.of_scores("Metric", labels_of(*measures(task_of(numbers["data"]))), scores),
        "classes": classes_table(test),
        "points": Grid(
            [
                "Label" if "baseline" in test else "Class",
                "Threshold",
                *sides,
                "Sensitivity read off test",
            ],
            points,
        ),
        "leak": Grid.of_scores("Metric", labels_of(*HEADLINES), leak.columns(numbers).items()),
    }
    if calibration := numbers.get("calibration"):
        errors = {"loss": "Loss", "expected_calibration_error": "Error"}
        rows = [
            [split, *(calibration[split][kind][key] for key in errors for kind in kinds)]
            for split in ("val", "test")
        ]
        headings = [f"{label}, {kind}" for label in errors.values() for kind in kinds]
        tables["calibration"] = Grid(["Split", *headings], rows)
    return tables


def classes_table(numbers: Mapping[str, Any]) -> Grid:
    """The numbers of each class against the rest, from those of a split."""
    several = "confusion_matrices" in numbers
    metrics = {"recall": "recall", "specificity": "specificity"} if several else {}
    metrics |= CLASS_METRICS
    labels = [label[0].upper() + label[1:] for label in metrics.values()]
    rows = [
        [name, f"{own['samples']:,}"]
        + [Cell(own[key], own["intervals"].get(key)) for key in metrics]
        for name, own in numbers["per_class"].items()
    ]
    return Grid(["Label" if several else "Class", "Images", *labels], rows)


def _verdict(numbers: Mapping[str, Any], baseline: Baseline) -> str:
    """Compare the test accuracy with the majority baseline, in a sentence or two."""
    if task_of(numbers["data"]) == "multi-label":
        return _label_verdict(numbers["test"], numbers["data"]["samples"]["test"], baseline)
    confusion = np.array(numbers["test"]["confusion_matrix"])
    hits, samples = int(np.trace(confusion)), int(confusion.sum())
    low, high = intervals.wilson_interval(hits, samples)
    beside = baseline.beside(hits / samples, baseline.p_of_one_run(confusion), "the run")
    return (
        f"On test, {hits:,} of {samples:,} images are classified correctly: an accuracy of "
        f"{html.percent(hits / samples)}, with a 95\N{NO-BREAK SPACE}% Wilson interval from "
        f"{html.percent(low)} to {html.percent(high)}. {beside}"
    )


def _label_verdict(test: Mapping[str, Any], images: int, baseline: Baseline) -> str:
    accuracy, subset = test["accuracy"], test["subset_accuracy"]
    low, high = test["intervals"]["subset_accuracy"]
    beside = baseline.beside(accuracy, test["baseline_p"], "the run")
    return (
        f"On test, {html.percent(accuracy)} of the labels of all {images:,} images are predicted "
        f"correctly; {html.percent(subset)} of the images have all their labels correct, with a "
        f"95\N{NO-BREAK SPACE}% Wilson interval from {html.percent(low)} to {html.percent(high)}. "
        f"{beside}"
    )


def _found(point: OperatingPoint | None) -> str:
    """Describe the highlighted class's operating point on test; "" if it is undefined."""
    if point is None:
        return ""
    found = []
    for side in SIDES:
        share = point["test"][side]
        low, high = point["test"]["intervals"][side]
        if share is None or low is None or high is None:
            return ""
        found.append(
            f"a {side} of {html.percent(share)} (95\N{NO-BREAK SPACE}% Wilson interval "
            f"{html.percent(low)} to {html.percent(high)})"
        )
    return f"For {HIGHLIGHTED}, the threshold chosen on val has {' and '.join(found)} on test."
