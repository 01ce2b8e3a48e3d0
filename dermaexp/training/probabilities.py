"""What a model's logits mean, by the task."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dermaexp.core.tasks import Task

SMALLEST = torch.finfo(torch.float32).tiny
LARGEST = 1 - torch.finfo(torch.float32).eps / 2


def of_classes(logits: Tensor) -> Tensor:
    """Return the probabilities (N, K) of classes that exclude each other."""
    return logits.softmax(dim=1)


def _scaled(probabilities: Tensor, temperature: float) -> Tensor:
    logs = probabilities.clamp(min=SMALLEST).log()
    return (logs / temperature).softmax(dim=1)


def _scaled_labels(probabilities: Tensor, temperature: float) -> Tensor:
    odds = probabilities.clamp(SMALLEST, LARGEST).logit()
    return (odds / temperature).sigmoid()


PROBABILITIES: dict[Task, Callable[[Tensor], Tensor]] = {  # (N, K) of logits (N, K)
    "multi-class": of_classes,
    "multi-label": torch.sigmoid,
    "ordinal": of_classes,
    "binary": of_classes,
}
CALIBRATED: dict[Task, Callable[[Tensor, float], Tensor]] = {  # as metrics.calibration has them
    "multi-class": _scaled,
    "multi-label": _scaled_labels,
    "ordinal": _scaled,
    "binary": _scaled,
}
