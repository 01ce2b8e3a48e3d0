"""Replicas: jobs that differ by the seed alone are trained at once, to their single runs' files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import NO_FIGURES, Killed, kill_at_write, numbers

from dermaexp.core.errors import UserError
from dermaexp.launch.replicas import expanded, grouped
from dermaexp.models.ffn import FFN
from dermaexp.runs.directory import RunDirectory
from dermaexp.training import replicas
from dermaexp.training.random_stream import RandomStream

SEEDS = 3
RECIPES = {
    "cnn": ("model=cnn", "model.channels=[4]", "model.hidden=[8]"),
    "random numbers in the model and the augmentation": (
        "model=ffn",
        "model._target_=helpers.DropoutNet",
        "~model.hidden",
        "~model.activation",
        "augment=strong",
        "scheduler=onecycle",
    ),
    "running statistics, clipped gradients": (
        "model=resnet11",
        "model.width=4",
        "trainer.gradient_clip_val=0.1",
        "optimizer=sgd",
        "sampler=balanced",
    ),
}


@pytest.fixture
def sweep(cli: Callable[..., int], data_file: Path, tmp_path: Path) -> Callable[..., list[Path]]:
    """Run a sweep over the seeds and return its run directories in their order."""

    def run(name: str, *arguments: str, code: int = 0) -> list[Path]:
        data = ("dataset=npz", f"dataset.path={data_file}", "trainer=cpu", "batch_size=16")
        seeds = f"seed={','.join(map(str, range(SEEDS)))}"
        options = (*data, "epochs=3", *NO_FIGURES, "report=false", seeds, *arguments)
        assert cli("-m", *options, f"name={name}") == code
        return sorted((tmp_path / "multirun" / name).glob("seed=*"))

    return run


def optimizer_state(run: Path) -> list[torch.Tensor]:
    (state,) = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["optimizer_states"]
    values = [value for own in state["state"].values() for value in own.values()]
    return [value for value in values if isinstance(value, torch.Tensor)]


def assert_equal(ours: list[Path], others: list[Path]) -> None:
    assert [run.name for run in ours] == [run.name for run in others]
    for own, other in zip(ours, others, strict=True):
        assert numbers(own, ("best", "last")) == numbers(other, ("best", "last"))
        files = [{file.relative_to(run) for file in run.rglob("*")} for run in (own, other)]
        assert {file for file in files[0] if file.suffix != ".tmp"} == files[1]


@pytest.mark.slow
@pytest.mark.usefixtures("tables_only")
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_each_replica_is_its_single_run(sweep, recipe: tuple[str, ...], capsys) -> None:
    alone = sweep("alone", *recipe)
    capsys.readouterr()
    together = sweep("together", *recipe, "sweep.replicas=8")
    output = capsys.readouterr()
    assert "jobs 0, 1, 2 are trained at once" in output.out
    assert output.out.count("epoch 3/3") == 1
    assert not output.err
    assert_equal(together, alone)
    for own, other in zip(together, alone, strict=True):
        states = zip(optimizer_state(own), optimizer_state(other), strict=True)
        assert all(torch.equal(*pair) for pair in states)
        record = json.loads((own / "run.json").read_text())
        assert (record["status"], record["replicas"]) == ("finished", [0, 1, 2])
        assert "resumed" not in record


@pytest.mark.slow
@pytest.mark.usefixtures("tables_only")
def test_killed_replicas_resume(sweep, monkeypatch) -> None:
    """Killed before the training, among the checkpoints of an epoch, and in the first job's end."""
    recipe = RECIPES["random numbers in the model and the augmentation"]
    alone = sweep("alone", *recipe)
    for written in (4, 24, 38):  # files
        name = f"killed_{written}"
        with monkeypatch.context() as patch, pytest.raises(Killed):
            kill_at_write(written, patch)
            sweep(name, *recipe, "sweep.replicas=8")
        assert_equal(sweep(name, *recipe, "sweep.replicas=8"), alone)


@pytest.mark.slow
@pytest.mark.usefixtures("tables_only")
@pytest.mark.parametrize("grayscale", ["true", "false"])
def test_replicas_from_a_run_resume(sweep, grayscale: str, monkeypatch, capsys) -> None:
    """With its statistics of pixels, which their checkpoints hold and their config does not."""
    colours = f"dataset.grayscale={grayscale}"
    first, *_ = sweep("first", "model=ffn", colours, "dataset.normalize=true")
    recipe = ("model=ffn", colours, f"model.init_from='{first}'")
    alone = sweep("alone", *recipe)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at_write(22, patch)
        sweep("killed", *recipe, "sweep.replicas=8")
    capsys.readouterr()
    assert_close(sweep("killed", *recipe, "sweep.replicas=8"), alone)
    output = capsys.readouterr()
    assert "are trained at once" in output.out
    assert not output.err


STACKED = {
    "Adam, on a CPU too": (
        *("model=ffn", "augment=strong", "augment.mixup=0.5", "scheduler=onecycle"),
    ),
    # Small steps: a rounding that switches a ReLU must not grow.
    "running statistics, clipped gradients": (
        *("model=resnet11", "model.width=4", "trainer.gradient_clip_val=0.5", "sampler=balanced"),
        *("optimizer=sgd", "optimizer.lr=0.002", "augment=dihedral", "scheduler=cosine"),
    ),
}
ATOL = 2e-4


def assert_close(ours: list[Path], others: list[Path]) -> None:
    """Predictions, scores, weights and the optimizer's states, but for float noise."""
    for own, other in zip(ours, others, strict=True):
        answers = [RunDirectory(run).read_predictions() for run in (own, other)]
        for name, values in answers[0].items():
            np.testing.assert_allclose(values, answers[1][name], atol=ATOL, err_msg=name)
        rows = [RunDirectory(run).read_history() for run in (own, other)]
        for row, expected in zip(*rows, strict=True):
            del row["seconds"], expected["seconds"]
            assert row == pytest.approx(expected, abs=10 * ATOL)
        files = [run / "checkpoints" / "last.ckpt" for run in (own, other)]
        weights, expected = (torch.load(file, weights_only=True)["state_dict"] for file in files)
        torch.testing.assert_close(weights, expected, rtol=0, atol=ATOL)
        states = (optimizer_state(own), optimizer_state(other))
        torch.testing.assert_close(*states, rtol=0, atol=10 * ATOL)
        sizes = [file.stat().st_size for file in files]
        assert sizes[0] == pytest.approx(sizes[1], rel=0.05), "nobody else's weights are in it"


@pytest.mark.slow
@pytest.mark.usefixtures("tables_only")
@pytest.mark.parametrize("recipe", STACKED.values(), ids=STACKED)
def test_a_stacked_replica_is_its_single_run(
    sweep, recipe: tuple[str, ...], monkeypatch, capsys
) -> None:
    """Also where it was killed."""
    alone = sweep("alone", *recipe)
    answers = [RunDirectory(run).read_predictions()["test_probabilities"] for run in alone]
    assert np.abs(answers[0] - answers[1]).max() > 20 * ATOL, "other seeds give other numbers"
    monkeypatch.setattr(replicas, "STACKED_ON", ("cpu",))
    capsys.readouterr()
    together = sweep("together", *recipe, "sweep.replicas=8")
    output = capsys.readouterr()
    assert "jobs 0, 1, 2 are trained at once" in output.out
    assert "one after the other" not in output.out
    assert not output.err
    assert_close(together, alone)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at_write(24, patch)
        sweep("killed", *recipe, "sweep.replicas=8")
    assert_close(sweep("killed", *recipe, "sweep.replicas=8"), alone)


@pytest.mark.slow
@pytest.mark.usefixtures("tables_only")
def test_stacked_steps_without_augmentation_take_no_turns(sweep, monkeypatch, capsys) -> None:
    monkeypatch.setattr(replicas, "STACKED_ON", ("cpu",))
    monkeypatch.delattr(RandomStream, "drawn_from")
    sweep("together", "model=ffn", "augment=none", "sweep.replicas=8")
    output = capsys.readouterr()
    assert "are trained at once" in output.out
    assert not output.err


@pytest.mark.slow
@pytest.mark.usefixtures("tables_only")
def test_what_cannot_be_stacked_is_looped_over(sweep, monkeypatch, capsys) -> None:
    recipe = RECIPES["random numbers in the model and the augmentation"]
    alone = sweep("alone", *recipe)
    monkeypatch.setattr(replicas, "STACKED_ON", ("cpu",))
    together = sweep("together", *recipe, "sweep.replicas=8")
    said = capsys.readouterr().out
    assert said.count("they take their steps one after the other: vmap: called random") == 1
    assert_equal(together, alone)


@pytest.mark.slow
@pytest.mark.usefixtures("tables_only")
def test_one_that_diverges_leaves_the_others(sweep, capsys, monkeypatch) -> None:
    alone = sweep("alone", "model=ffn")
    forward, built = FFN.forward, FFN.__init__

    def init(self: FFN, *args: object, **options: object) -> None:
        built(self, *args, **options)
        self.breaks = torch.initial_seed() == 1

    def broken(self: FFN, images: torch.Tensor) -> torch.Tensor:
        return forward(self, images / (0 if self.breaks else 1))

    monkeypatch.setattr(FFN, "__init__", init)
    monkeypatch.setattr(FFN, "forward", broken)
    together = sweep("together", "model=ffn", "sweep.replicas=8", code=1)
    errors = capsys.readouterr().err
    assert "jobs 0, 1, 2 are trained one by one from here: the loss is not a number" in errors
    assert "job 1 failed: the loss is not a number in epoch 1" in errors
    assert_equal([together[0], together[2]], [alone[0], alone[2]])


@pytest.mark.slow
@pytest.mark.usefixtures("tables_only")
def test_what_acts_on_one_run_is_trained_alone(sweep, capsys) -> None:
    alone = sweep("alone", "model=ffn", "callbacks=[default,ema]")
    capsys.readouterr()
    together = sweep("together", "model=ffn", "callbacks=[default,ema]", "sweep.replicas=8")
    output = capsys.readouterr()
    reason = "jobs with other seeds are trained one by one: callbacks.ema may act on one run"
    assert output.err.count(reason) == 1
    assert output.out.count("epoch 3/3") == SEEDS
    assert_equal(together, alone)


@pytest.mark.slow
@pytest.mark.usefixtures("tables_only")
def test_finished_replicas_are_not_trained_again(sweep, capsys) -> None:
    before = [run / "run.json" for run in sweep("s", "model=ffn", "sweep.replicas=8")]
    contents = [file.read_bytes() for file in before]
    capsys.readouterr()
    sweep("s", "model=ffn", "sweep.replicas=8")
    assert capsys.readouterr().out.count("finished before: not run again") == SEEDS
    assert [file.read_bytes() for file in before] == contents


def test_groups_differ_by_the_seed_alone() -> None:
    jobs = [[f"model={m}", f"seed={s}"] for s in range(3) for m in ("ffn", "cnn")]
    assert grouped(jobs, 8) == [[0, 2, 4], [1, 3, 5]]
    assert grouped(jobs, 2) == [[0, 2], [4], [1, 3], [5]]


def test_replicas_are_a_sweep_over_seeds() -> None:
    assert expanded(["model=ffn"]) == ["model=ffn"]
    swept = ["-m", "model=ffn", "seed=4,5", "sweep.replicas=2"]
    assert expanded(["model=ffn", "seed=4", "replicas=2"]) == swept
    swept = ["-m", "model=ffn,cnn", "seed=0,1,2", "sweep.replicas=3"]
    assert expanded(["-m", "model=ffn,cnn", "replicas=3"]) == swept
    with pytest.raises(UserError, match="replicas=no: expected a whole number from 1"):
        expanded(["replicas=no"])
    with pytest.raises(UserError, match="counts on from one seed, not from seed=0,1: give sweep"):
        expanded(["seed=0,1", "replicas=2"])


def test_replicas_share_one_process(cli, capsys) -> None:
    assert cli("-m", "seed=0,1", "sweep.replicas=2", "hydra/launcher=joblib") == 1
    assert "expected no hydra/launcher=joblib" in capsys.readouterr().err
