"""Optimizers are fused, and resume what was trained before they were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers import NO_FIGURES

from dermaexp.runs.directory import RunDirectory

pytestmark = pytest.mark.slow


def states(run: Path) -> dict:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.mark.parametrize(
    ("given", "fused"),
    [
        ([], True),
        (["optimizer=sgd"], True),
        (["optimizer=adamw", "optimizer.fused=false"], False),
        (["trainer.precision=16-mixed", "trainer.accelerator=cpu"], None),
        (["trainer.precision=bf16-mixed"], True),
        (["trainer.precision=bf16-mixed", "trainer.gradient_clip_val=1"], None),
    ],
)
def test_optimizers_are_fused(
    cli: Callable[..., int], data_file: Path, tmp_path: Path, given: list[str], fused: bool | None
) -> None:
    options = ("dataset=npz", f"dataset.path={data_file}", "trainer=cpu", "model=ffn", "epochs=1")
    assert cli(*options, *NO_FIGURES, "hydra.run.dir=run", *given) == 0
    (state,) = states(tmp_path / "run")["optimizer_states"]
    assert state["param_groups"][0]["fused"] is fused


def test_a_run_from_before_is_resumed(
    cli: Callable[..., int], data_file: Path, tmp_path: Path
) -> None:
    """Its checkpoint says that its optimizer was not fused; its numbers continue."""
    options = ("dataset=npz", f"dataset.path={data_file}", "trainer=cpu", "model=cnn", *NO_FIGURES)
    assert cli(*options, "epochs=4", "hydra.run.dir=whole") == 0
    assert cli(*options, "epochs=2", "hydra.run.dir=run") == 0
    run, whole = tmp_path / "run", tmp_path / "whole"
    last = states(run)
    for group in last["optimizer_states"][0]["param_groups"]:
        group["fused"] = None
    for state in last["optimizer_states"][0]["state"].values():
        for name in ("exp_avg", "exp_avg_sq"):
            state[name] = state[name].contiguous()  # as of models in torch's default layout
    torch.save(last, run / "checkpoints" / "last.ckpt")
    (run / "metrics.json").unlink()
    assert cli(f"resume={run}", "epochs=4") == 0
    assert states(run)["optimizer_states"][0]["param_groups"][0]["fused"] is None
    losses = [[row["val_loss"] for row in RunDirectory(one).read_history()] for one in (run, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
