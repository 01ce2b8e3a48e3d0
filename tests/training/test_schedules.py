"""Learning rates at the start, in the middle and at the end."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch

from dermaexp.training import schedules


def rates(schedule: Callable, steps: int = 100, lr: float = 0.4) -> list[float]:
    """The rate of each step."""
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = schedule(optimizer, steps)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_cosine() -> None:
    seen = rates(partial(schedules.cosine, min_factor=0.1))
    expected = [0.04 + 0.36 * (1 + math.cos(math.pi * step / 100)) / 2 for step in range(100)]
    assert seen == pytest.approx(expected)


def test_multistep_is_medmnists() -> None:
    seen = rates(partial(schedules.multistep, milestones=[0.5, 0.75], gamma=0.1))
    assert seen == pytest.approx([0.4] * 50 + [0.04] * 25 + [0.004] * 25)


def test_a_milestone_is_never_before_the_first_step() -> None:
    seen = rates(partial(schedules.multistep, milestones=[0.1, 0.5], gamma=0.1), steps=2)
    assert seen == pytest.approx([0.4, 0.004])


def test_onecycle() -> None:
    seen = rates(partial(schedules.onecycle, warmup=0.3))
    assert seen[0] == pytest.approx(0.4 / 25)
    assert max(seen) == pytest.approx(0.4)
    assert seen.index(max(seen)) == pytest.approx(0.3 * 100, abs=1)
    assert seen[-1] < 1e-4
