"""A checkpoint of another memory layout than the model's, as of a version before channels-last."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers import NO_FIGURES, Killed, kill_at_write, numbers

from dermaexp.training.optimizer_states import match_layouts


@pytest.mark.parametrize("name", ["Adam", "SGD", "Adagrad"])
def test_a_fused_optimizer_steps_as_a_plain_one(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    start, *gradients = (torch.randn(8, 4, 3, 3, generator=generator) for _ in range(3))
    options = {"momentum": 0.9} if name == "SGD" else {}
    ends = []
    for fused in (True, False):
        weight = torch.nn.Parameter(start.clone(memory_format=torch.channels_last))
        optimizer = getattr(torch.optim, name)([weight], lr=0.1, fused=fused, **options)
        weight.grad = gradients[0].clone(memory_format=torch.channels_last)
        optimizer.step()
        stored = optimizer.state_dict()
        for key, value in stored["state"][0].items():
            if value.dim():
                stored["state"][0][key] = value.contiguous()
        optimizer.load_state_dict(stored)
        match_layouts([optimizer])
        assert all(
            value.stride() == weight.stride()
            for value in optimizer.state[weight].values()
            if value.dim()
        )
        weight.grad = gradients[1].clone(memory_format=torch.channels_last)
        optimizer.step()
        ends.append(weight.detach())
    torch.testing.assert_close(*ends, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_resumed_run_does_not_depend_on_the_layout(
    cli: Callable[..., int], data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("dataset=npz", f"dataset.path={data_file}", "trainer=cpu", "model=cnn", "epochs=2")
    options = (*options, "dataset.grayscale=false", "batch_size=16", *NO_FIGURES, "report=false")
    assert cli(*options, "hydra.run.dir=whole") == 0
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at_write(7, patch)
        cli(*options, "hydra.run.dir=killed")
    file = tmp_path / "killed" / "checkpoints" / "last.ckpt"
    stored = torch.load(file, weights_only=True)
    moved = 0
    for kept in stored["optimizer_states"][0]["state"].values():
        for name, value in kept.items():
            moved += not value.is_contiguous()
            kept[name] = value.contiguous()
    assert moved, "the test would show nothing"
    torch.save(stored, file)
    assert cli("resume=killed") == 0
    assert json.loads((tmp_path / "killed" / "run.json").read_text())["resumed"]
    assert numbers(tmp_path / "killed") == numbers(tmp_path / "whole")
