"""The metrics by name: what each is called in text, tables and figures."""

from __future__ import annotations

from typing import NamedTuple


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
    "loss": Metric("loss", "loss", is_share=False),
    "expected_calibration_error": Metric("expected calibration error", "ECE", is_share=False),
}
HEADLINES = ("accuracy", "balanced_accuracy", "macro_auroc", "macro_f1")  # with a baseline

CLASS_METRICS = {  # of one class against the rest: name -> label
    "recall": "recall",
    "precision": "precision",
    "f1": "F1",
    "auroc": "AUROC",
    "average_precision": "average precision",
}


def labels_of(*names: str) -> dict[str, str]:
    """Maps the `names` of metrics to their labels."""
    return {name: METRICS[name].label for name in names}
