"""What an optimizer keeps of each weight, after it was loaded from a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer


def match_layouts(optimizers: Iterable[Optimizer]) -> None:
    """Give all that is kept of a weight the weight's own layout in memory.

    On a CPU torch's fused optimizers go through both in the order of memory. Where a checkpoint
    holds another layout than the model has now, they would mix up the elements without a word.
    """
    for optimizer in optimizers:
        for weight, kept in optimizer.state.items():
            for name, value in kept.items():
                is_of_elements = isinstance(value, Tensor) and value.shape == weight.shape
                if is_of_elements and value.stride() != weight.stride():
                    kept[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)
