"""Rows of batches, collected in one tensor."""

from __future__ import annotations

import torch

from dermaexp.training.collected import Collected


def test_rows_of_all_batches_in_their_order() -> None:
    rows = torch.arange(70).reshape(35, 2)
    collected = Collected()
    for _ in range(2):
        for batch in rows.split(4):
            collected.add(batch)
        taken = collected.take()
        assert torch.equal(taken, rows)
        assert taken.dtype == torch.int64


def test_an_empty_batch_adds_nothing() -> None:
    collected = Collected()
    for size in (0, 3, 0, 2):
        collected.add(torch.ones(size, 7))
    assert collected.take().shape == (5, 7)
