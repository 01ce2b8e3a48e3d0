"""What a run's page shows of its final numbers, those of older versions included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dermaexp.metrics import classification, intervals
from dermaexp.metrics.baseline import Baseline, baseline_of
from dermaexp.metrics.classification import HEADLINES
from dermaexp.metrics.operating_points import HIGHLIGHTED, operating_points
from dermaexp.report import html, leak
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.schemas import lacking, wrong_metrics

NUMBERS = {
    **HEADLINES,
    "loss": "loss",
    "expected_calibration_error": "expected calibration error",
}
NEEDED = (  # in metrics.json
    "data.classes",
    *(f"data.samples.{split}" for split in ("train", "val", "test")),
    "model.name",
    "model.parameters",
    "val",
    "test.confusion_matrix",
    "tested_with",
    "best_epoch",
    "epochs",
    *(f"seconds.{part}" for part in ("total", "data", "fit", "test")),
)
CLASS_NUMBERS = {
    "recall": "Recall",
    "precision": "Precision",
    "f1": "F1",
    "auroc": "AUROC",
    "average_precision": "Average precision",
}


def results_of(directory: RunDirectory) -> dict[str, Any] | None:
    """The final numbers with the majority baseline's; None before metrics.json is written.

    Raises ValueError where it cannot be read, or lacks what every version has written.
    """
    if not directory.has_metrics():
        return None
    numbers = directory.read_metrics()
    if wrong := wrong_metrics(numbers) or ", ".join(f"no {k}" for k in lacking(numbers, NEEDED)):
        raise ValueError(f"metrics.json: {wrong}")
    try:
        return _shown(directory, numbers)
    except (KeyError, IndexError) as error:
        raise ValueError(f"metrics.json: no {error.args[0]}") from error


def _shown(directory: RunDirectory, numbers: dict[str, Any]) -> dict[str, Any]:
    baseline = baseline_of(numbers)
    numbers = {"planned_epochs": numbers["epochs"]} | _completed(directory, numbers, baseline)
    test = numbers["test"]
    return numbers | {
        "headlines": {
            label: [
                *_measured(numbers["val"], key),
                *_measured(test, key),
                baseline.scores.get(key),
            ]
            for key, label in NUMBERS.items()
        },
        "verdict": _verdict(np.array(test["confusion_matrix"]), baseline),
        "draws": intervals.DRAWS,
        "class_headings": ["Images", *CLASS_NUMBERS.values()],
        "per_class": {
            name: (own["samples"], [_measured(own, key) for key in CLASS_NUMBERS])
            for name, own in test["per_class"].items()
        },
        "operating_points": _operating_points(numbers),
        "calibration": _calibration(numbers),
        "leak": _leak(numbers),
    }


def _calibration(numbers: Mapping[str, Any]) -> dict[str, Any] | None:
    """None where it was not asked for; an older version did not tell limits."""
    if "calibration" not in numbers:
        return None
    return {"at_limit": False} | numbers["calibration"]


def _leak(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of clean and of leaked test images by heading, and in words; none without."""
    columns = leak.columns(numbers)
    rows = {label: [own.get(key) for own in columns.values()] for key, label in HEADLINES.items()}
    return {"reading": leak.reading(numbers), "headings": list(columns), "rows": rows}


def _completed(
    directory: RunDirectory, numbers: dict[str, Any], baseline: Baseline
) -> dict[str, Any]:
    """With what an older version did not write, made again from predictions.npz where it is left.

    Without, a class's numbers are those that the confusion matrix tells.
    """
    if "operating_points" in numbers:
        return numbers
    classes = numbers["data"]["classes"]
    stored = directory.read_predictions() if directory.has_predictions() else {}
    made = {
        split: (stored[f"{split}_targets"], stored[f"{split}_probabilities"])
        for split in ("val", "test")
        if f"{split}_targets" in stored
    }
    majority = np.array([baseline.label_index])
    again = {
        split: classification.evaluate(*pair, majority, classes) for split, pair in made.items()
    }
    confusion = np.array(numbers["test"]["confusion_matrix"])
    again.setdefault("test", {"per_class": classification.class_answers(confusion, classes)})
    numbers |= {split: values | numbers[split] for split, values in again.items()}
    if len(made) == 2:
        numbers["operating_points"] = operating_points(made["val"], made["test"], classes)
    return numbers


def _measured(numbers: Mapping[str, Any], key: str) -> tuple[float | None, str]:
    """The number and, as text, its interval; None and "" where it is undefined or not known."""
    return numbers.get(key), _interval(numbers.get("intervals", {}).get(key))


def _interval(ends: Sequence[float | None] | None) -> str:
    texts = [html.fixed(end, 3) for end in ends or ()]
    return "\N{EN DASH}".join(texts) if all(texts) else ""


def _verdict(confusion: np.ndarray, baseline: Baseline) -> str:
    """The test accuracy beside the majority baseline, in words."""
    hits, samples = int(np.trace(confusion)), int(confusion.sum())
    low, high = intervals.wilson_interval(hits, samples)
    beside = baseline.beside(hits / samples, baseline.p_of_one_run(confusion), "the run")
    return (
        f"On test, {hits:,} of {samples:,} images are classified correctly: an accuracy of "
        f"{html.percent(hits / samples)}, with a 95\N{NO-BREAK SPACE}% Wilson interval from "
        f"{html.percent(low)} to {html.percent(high)}. {beside}"
    )


def _operating_points(numbers: Mapping[str, Any]) -> dict[str, Any] | None:
    """Rows of numbers by class, which is highlighted and, in words, its point; None if unknown."""
    if "operating_points" not in numbers:
        return None
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


def _found(point: Mapping[str, Any] | None) -> str:
    """What the highlighted class's operating point does on test; "" where that is undefined."""
    told = []
    for side in ("sensitivity", "specificity"):
        share = point["test"][side] if point else None
        low, high = point["test"]["intervals"][side] if share is not None else (None, None)
        if None in (low, high):
            return ""
        told.append(
            f"a {side} of {html.percent(share)} (95\N{NO-BREAK SPACE}% Wilson interval "
            f"{html.percent(low)} to {html.percent(high)})"
        )
    return f"For {HIGHLIGHTED}, the threshold of val has on test {' and '.join(told)}."
