"""Freed memory is kept for the next step, and handed back when asked."""

from __future__ import annotations

import platform
import resource
from collections.abc import Iterator

import psutil
import pytest
import torch

from dermaexp.core import allocator

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
STEP = 16 * 2**20  # bytes, in blocks that lie in the heap
BLOCKS = 4


@pytest.fixture(autouse=True)
def handed_back() -> Iterator[None]:
    yield
    allocator.hand_back()


def step() -> None:
    blocks = [torch.empty(STEP // BLOCKS, dtype=torch.uint8).fill_(1) for _ in range(8 * BLOCKS)]
    del blocks


def pages_cleared(steps: int) -> int:
    """Return how often the system had to give a page to this process."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_a_step_takes_the_memory_that_the_step_before_freed() -> None:
    pages_of_a_step = 8 * STEP // resource.getpagesize()
    allocator.keep_freed_memory()
    step()
    assert pages_cleared(steps=5) < pages_of_a_step  # by default each step clears all of them


def test_kept_memory_is_handed_back() -> None:
    allocator.keep_freed_memory()
    step()
    kept = psutil.Process().memory_info().rss
    allocator.hand_back()
    assert kept - psutil.Process().memory_info().rss > 4 * STEP
