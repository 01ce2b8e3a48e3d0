"""The metrics by name: what each is called in text, tables and figures."""

from __future__ import annotations

from typing import NamedTuple

from dermaexp.core.tasks import Task


class Metric(NamedTuple):
    """What a number of metrics.json is called."""

    label: str
    short: str  # in narrow columns
    is_share: bool  # of images: differences are given in percentage points


METRICS = {
    "accuracy": Metric("accuracy", "accuracy", is_share=True),
    "balanced_accuracy": Metric("balanced accuracy", "balanced", is_share=True),
    "macro_auroc": Metric("macro AUROC", "AUROC", is_share=False),
    "macro_f1": Metric("macro F1", "F1", is_share=False),
    "subset_accuracy": Metric("subset accuracy", "subset", is_share=True),
    "macro_average_precision": Metric("macro average precision", "AP", is_share=False),
    "quadratic_weighted_kappa": Metric("quadratic-weighted kappa", "kappa", is_share=False),
    "mean_absolute_error": Metric("mean absolute error", "MAE", is_share=False),
    "sensitivity": Metric("sensitivity", "sens.", is_share=True),
    "specificity": Metric("specificity", "spec.", is_share=True),
    "loss": Metric("loss", "loss", is_share=False),
    "expected_calibration_error": Metric("expected calibration error", "ECE", is_share=False),
}
HEADLINES = ("accuracy", "balanced_accuracy", "macro_auroc", "macro_f1")  # with a baseline
OF_TASK: dict[Task, tuple[str, ...]] = {  # beside those, with a baseline too
    "multi-class": (),
    "multi-label": ("subset_accuracy", "macro_average_precision"),
    "ordinal": ("quadratic_weighted_kappa", "mean_absolute_error"),
    "binary": ("sensitivity", "specificity"),
}
WITHOUT_BASELINE = ("loss", "expected_calibration_error")

CLASS_METRICS = {  # of one class against the rest: name -> label
    "recall": "recall",
    "precision": "precision",
    "f1": "F1",
    "auroc": "AUROC",
    "average_precision": "average precision",
}


def headlines(task: Task) -> tuple[str, ...]:
    """The metrics of a task that have a baseline."""
    return *HEADLINES, *OF_TASK[task]


def measures(task: Task) -> tuple[str, ...]:
    """All metrics of a task."""
    return *headlines(task), *WITHOUT_BASELINE


def labels_of(*names: str) -> dict[str, str]:
    """Maps the `names` of metrics to their labels."""
    return {name: METRICS[name].label for name in names}
