"""torch's learning rate schedules over a training of `steps` optimizer steps."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
)

from dermaexp.core import rules
from dermaexp.training.config import MultistepConfig


def cosine(optimizer: Optimizer, steps: int, min_factor: float) -> LRScheduler:
    """Lower lr to lr x `min_factor` along one cosine (Loshchilov & Hutter, ICLR 2017)."""
    if len(optimizer.param_groups) > 1:  # whose lowest rates differ, too
        return LambdaLR(optimizer, functools.partial(_cosine, steps=steps, low=min_factor))
    return CosineAnnealingLR(optimizer, T_max=steps, eta_min=_lr(optimizer) * min_factor)


def multistep(
    optimizer: Optimizer, steps: int, milestones: Sequence[float], gamma: float
) -> LRScheduler:
    """Multiply lr by `gamma` at each milestone, a fraction of the training; else UserError."""
    rules.check(MultistepConfig, {"milestones": milestones, "gamma": gamma}, "scheduler")
    return MultiStepLR(optimizer, [max(1, round(share * steps)) for share in milestones], gamma)


def onecycle(optimizer: Optimizer, steps: int, warmup: float) -> LRScheduler:
    """Raise to lr in the first `warmup` of the training, then lower to 0 (Smith & Topin, 2018)."""
    highest = [group["lr"] for group in optimizer.param_groups]
    return OneCycleLR(optimizer, max_lr=highest, total_steps=steps, pct_start=warmup)


def _cosine(step: int, steps: int, low: float) -> float:
    return low + (1 - low) * (1 + math.cos(math.pi * step / steps)) / 2


def _lr(optimizer: Optimizer) -> float:
    return optimizer.param_groups[0]["lr"]
