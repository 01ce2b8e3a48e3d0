"""Training losses: from logits (N, K) and targets, (N,) classes or (N, K) shares, to one number.

Those of several labels an image are in `label_losses`.

Each takes `counts`, the number of training images of each class in the classes' order, and averages
over the images of the batch. The val and test losses of a run are always plain cross-entropy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from dermaexp.core import rules
from dermaexp.core.errors import UserError
from dermaexp.training.config import (
    CrossEntropyConfig,
    FocalConfig,
    LogitAdjustedConfig,
    WeightedConfig,
)


class CrossEntropy(nn.Module):
    """Cross-entropy; `label_smoothing` is the part of each target that all classes share."""

    def __init__(self, counts: Mapping[str, int], label_smoothing: float = 0.0) -> None:
        super().__init__()
        rules.check(CrossEntropyConfig, {"label_smoothing": label_smoothing}, "loss")
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)


class WeightedCrossEntropy(nn.Module):
    """Cross-entropy that weights each class by 1 / images ** `power`, or by `weights`.

    An average training image weighs 1. With `power` 1 the images of each class together weigh the
    same.
    """

    def __init__(
        self,
        counts: Mapping[str, int],
        power: float = 1.0,
        weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        given = {"power": power, "weights": weights, "label_smoothing": label_smoothing}
        rules.check(WeightedConfig, given, "loss")
        self.label_smoothing = label_smoothing
        images = torch.tensor(list(counts.values()), dtype=torch.float64)
        if weights is None:
            _check_images("loss=weighted", counts, counts)
            scaled = images**-power
        else:
            check_weights(weights, counts)
            scaled = torch.tensor(list(weights), dtype=torch.float64)
        scaled = scaled * images.sum() / (scaled * images).sum()
        self.weights: Tensor
        self.register_buffer("weights", scaled.float(), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        # torch's own mean divides by the sum of the batch's weights instead.
        return functional.cross_entropy(
            logits,
            targets,
            weight=self.weights,
            label_smoothing=self.label_smoothing,
            reduction="none",
        ).mean()


class FocalLoss(nn.Module):
    """Cross-entropy that weights confident, right answers less, by (1 - p) ** `gamma`.

    Lin et al., ICCV 2017, generalised to many classes. `gamma` 0 is cross-entropy.
    """

    def __init__(
        self, counts: Mapping[str, int], gamma: float = 2.0, label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        rules.check(FocalConfig, {"gamma": gamma, "label_smoothing": label_smoothing}, "loss")
        self.gamma = gamma
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        classes = logits.shape[1]
        shares = targets if targets.ndim == 2 else functional.one_hot(targets, classes)
        shares = shares * (1 - self.label_smoothing) + self.label_smoothing / classes
        log_p = logits.log_softmax(dim=1)
        # expm1 keeps 1 - p exact where p is nearly 1; its gradient at 0 would not be finite.
        missing = (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).tiny)
        return -(shares * missing**self.gamma * log_p).sum(dim=1).mean()


class LogitAdjusted(nn.Module):
    """Cross-entropy of logits + `tau` x log of the class's share of the training images.

    Menon et al., ICLR 2021. With `tau` 1 the model's own logits assume equally frequent classes,
    which serves balanced accuracy; 0 is cross-entropy.
    """

    def __init__(
        self, counts: Mapping[str, int], tau: float = 1.0, label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        rules.check(LogitAdjustedConfig, {"tau": tau, "label_smoothing": label_smoothing}, "loss")
        _check_images("loss=logit_adjusted", counts, counts)
        self.label_smoothing = label_smoothing
        images = torch.tensor(list(counts.values()), dtype=torch.float64)
        shift = tau * (images / images.sum()).log()
        self.shift: Tensor
        self.register_buffer("shift", shift.float(), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(
            logits + self.shift, targets, label_smoothing=self.label_smoothing
        )


def check_weights(weights: Sequence[float], counts: Mapping[str, int]) -> None:
    """Raise UserError unless each class has its weight, and each weighted class an image."""
    if len(weights) != len(counts):
        raise UserError(
            f"loss.weights={weights}: expected {len(counts)} numbers from 0, not all 0, in the "
            f"order of the classes: {', '.join(counts)}"
        )
    weighted = [name for name, weight in zip(counts, weights, strict=True) if weight]
    _check_images(f"loss.weights={list(weights)}", counts, weighted)


def _check_images(given: str, counts: Mapping[str, int], weighted: Iterable[str]) -> None:
    missing = [name for name in weighted if not counts[name]]
    if missing:
        raise UserError(
            f"{given} weighs {', '.join(map(repr, missing))}, of which there is no training image: "
            "expected images of every weighted class; give loss=cross_entropy, or loss=weighted "
            "with loss.weights that are 0 there"
        )
