"""The keys of the config group trainer: honoured, or refused in one line."""

from __future__ import annotations

import csv
import inspect
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import pytorch_lightning as lightning
import torch
from helpers import NO_FIGURES, overridden
from omegaconf import OmegaConf
from pytorch_lightning.callbacks import Timer

from dermaexp.core import rules
from dermaexp.core.errors import UserError
from dermaexp.runs.directory import RunDirectory
from dermaexp.training import trainer_keys
from dermaexp.training.build import build_trainer

Cli = Callable[..., int]


@pytest.fixture
def train(cli: Cli, data_file: Path, tmp_path: Path) -> Callable[..., Path]:
    """Train on the small file, five batches an epoch; gives the run directory."""

    def run(*arguments: str, folder: str = "run", code: int = 0) -> Path:
        options = ["dataset=npz", f"dataset.path={data_file}", "trainer=cpu", "epochs=4"]
        options += ["batch_size=24", "model=ffn", *NO_FIGURES]
        assert cli(*overridden(options, *arguments), f"hydra.run.dir={folder}") == code
        return tmp_path / folder

    return run


def numbers(run: Path) -> dict:
    return json.loads((run / "metrics.json").read_text())


def refusal(**trainer: object) -> str:
    with pytest.raises(UserError) as error:
        rules.check(trainer_keys.TrainerConfig, {"max_epochs": 10, **trainer}, "trainer")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_we_set_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each key that build_trainer passes itself, and no name that Lightning does not know."""
    given: dict = {}
    known = set(inspect.signature(lightning.Trainer).parameters)

    class Spy(lightning.Trainer):
        def __init__(self, **arguments: object) -> None:
            given.update(arguments)
            super().__init__(**arguments)

    monkeypatch.setattr(lightning, "Trainer", Spy)
    passed = {"accelerator": "cpu", "devices": 1, "max_epochs": 2, "precision": "32-true"}
    used = {"max_steps": 3, "max_time": "00:00:01:00", "limit_val_batches": 2}
    keys = {"_target_": "pytorch_lightning.Trainer", **passed, **used}
    config = OmegaConf.create({"seed": 0, "callbacks": {}, "trainer": keys})
    build_trainer(config, RunDirectory(tmp_path), Timer(verbose=False))
    assert given.keys() - passed.keys() == trainer_keys.SET_BY_US.keys()
    rules_for = trainer_keys.TrainerConfig.model_fields
    assert {*trainer_keys.REFUSED, *rules_for, *trainer_keys.USED_BY_US} <= known
    for key, instead in trainer_keys.REFUSED.items():
        assert refusal(**{key: True}) == f"trainer.{key} is not supported: {instead}"


@pytest.mark.parametrize(
    ("trainer", "line"),
    [
        ({"max_epochs": 0}, "trainer.max_epochs=0: expected a whole number from 1"),
        ({"max_epochs": -1}, "give a large number and +trainer.max_steps or +trainer.max_time"),
        ({"max_epochs": None}, "trainer.max_epochs=null: expected a whole number from 1"),
        ({"max_epochs": 2.5}, "trainer.max_epochs=2.5: expected a whole number"),
        ({"max_steps": 0}, "trainer.max_steps=0: expected a whole number from 1"),
        ({"max_steps": -1}, "trainer.max_steps=-1: expected a whole number from 1"),
        ({"min_epochs": 11}, "trainer.min_epochs=11 is above trainer.max_epochs=10"),
        ({"min_steps": 3, "max_steps": 2}, "trainer.min_steps=3 is above trainer.max_steps=2"),
        ({"min_epochs": 1, "max_steps": 2}, "exclude each other"),
        ({"max_time": "5 s"}, "trainer.max_time=5 s: expected a time above 0, such as 00:01:30:00"),
        ({"max_time": 90}, "trainer.max_time=90: expected a time above 0"),
        ({"max_time": "00:00:00:00"}, "expected a time above 0"),
        ({"max_time": "00:00:61:00"}, "expected a time above 0"),
        ({"max_time": {"minute": 1}}, "trainer.max_time={'minute': 1}: expected a time"),
        ({"max_time": {"minutes": -1}}, "expected a time above 0"),
        ({"max_time": {"days": 1e300}}, "expected a time above 0"),
        ({"max_time": {}}, "expected a time above 0"),
        ({"limit_train_batches": 0}, "trainer.limit_train_batches=0: expected a number of batches"),
        ({"limit_test_batches": 0}, "trainer.limit_test_batches=0: expected a number of batches"),
        ({"precision": "bf16-true"}, "trainer.precision=bf16-true: expected 32-true, bf16-mixed"),
        ({"precision": 64}, "trainer.precision=64: expected 32-true, bf16-mixed or 16-mixed"),
        ({"precision": "64-true"}, "trainer.precision=64-true: expected 32-true, bf16-mixed"),
        ({"limit_val_batches": -1}, "limit_val_batches=-1: expected a number of batches from 1"),
        ({"limit_test_batches": 1.5}, "limit_test_batches=1.5: expected a number of batches"),
        ({"limit_test_batches": True}, "limit_test_batches=true: expected a number of batches"),
        ({"limit_val_batches": "all"}, "or a share of the images such as 0.5"),
        ({"limit_val_batches": math.nan}, "or a share of the images such as 0.5"),
        ({"accumulate_grad_batches": 0}, "trainer.accumulate_grad_batches=0: expected a whole"),
        ({"gradient_clip_val": -1}, "trainer.gradient_clip_val=-1: expected a number from 0"),
        ({"gradient_clip_algorithm": "norm"}, "does nothing without trainer.gradient_clip_val"),
        (
            {"gradient_clip_val": 1, "gradient_clip_algorithm": "max"},
            "gradient_clip_algorithm=max: expected norm or value",
        ),
        ({"deterministic": "yes"}, "trainer.deterministic=yes: expected true, false or warn"),
        ({"detect_anomaly": 1}, "trainer.detect_anomaly=1: expected true or false"),
        ({"inference_mode": "no"}, "trainer.inference_mode=no: expected true or false"),
    ],
)
def test_values_that_make_no_sense(trainer: dict, line: str) -> None:
    assert line in refusal(**trainer)


def test_times() -> None:
    assert trainer_keys.seconds("01:02:03:04") == 93784
    assert trainer_keys.seconds({"minutes": 1, "seconds": 0.5}) == 60.5
    assert trainer_keys.seconds(None) is None


def test_an_unknown_key_is_refused(train, capsys) -> None:
    train("+trainer.max_step=3", code=1)
    line = "trainer has no key max_step: did you mean 'max_steps'?"
    assert capsys.readouterr().err == f"error: {line}\n"


@pytest.mark.slow
def test_max_steps(train, cli: Cli, capsys) -> None:
    """Eight steps are one epoch and three of five steps: val, checkpoints and history are there."""
    run = train("+trainer.max_steps=8", "scheduler=cosine", "checkpoint.test_with=last")
    assert "ended by trainer.max_steps in epoch 2 of 4" in capsys.readouterr().out
    found = numbers(run)
    assert (found["epochs"], found["planned_epochs"], found["ended_by"]) == (2, 4, "max_steps")
    rows = RunDirectory(run).read_history()
    assert [row["epoch"] for row in rows] == [1, 2]
    assert rows[1]["lr"] == pytest.approx(0.5e-3 * (1 + math.cos(math.pi * 5 / 8)), rel=1e-6)
    assert found["train"]["loss"] == rows[1]["train_loss"]
    assert found["val"]["loss"] == rows[1]["val_loss"]
    assert found["data"]["samples"]["train"] == 120
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert (last["global_step"], last["epoch"]) == (8, 1)
    (run / "metrics.json").unlink()
    history = (run / "history.csv").read_bytes()
    assert cli(f"resume={run}") == 0
    assert {**numbers(run), "seconds": None} == {**found, "seconds": None}
    assert (run / "history.csv").read_bytes() == history


@pytest.mark.slow
@pytest.mark.parametrize("last", ["+trainer.max_steps=3", "+trainer.max_time={microseconds: 1}"])
def test_a_run_that_ends_in_its_first_epoch(train, last: str) -> None:
    run = train(last, "callbacks=[default,ema]", *NO_FIGURES)
    found = numbers(run)
    steps = 3 if "steps" in last else 1
    assert (found["epochs"], found["best_epoch"]) == (1, 1)
    assert found["data"]["samples"] == {"train": 24 * steps, "val": 40, "test": 50}
    (row,) = csv.DictReader((run / "history.csv").open())
    assert found["train"]["accuracy"] == float(row["train_accuracy"])


@pytest.mark.slow
def test_max_time_counts_all_attempts(train, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten steps of a first attempt and four of a second one, by a clock that counts steps."""
    clock = [0.0]

    def tick(self: object, *_: object) -> None:
        clock[0] += 1
        if clock[0] == 11 and not (Path("run") / "done").exists():
            raise RuntimeError("interrupted")

    monkeypatch.setattr("pytorch_lightning.callbacks.timer.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(
        "dermaexp.training.classifier.Classifier.on_train_batch_start", tick, raising=False
    )
    run = train("+trainer.max_time=00:00:00:14", "epochs=9", code=1)
    assert len(RunDirectory(run).read_history()) == 2
    (run / "done").touch()
    clock[0] = 100.0
    assert cli(f"resume={run}") == 0
    found = numbers(run)
    assert (found["epochs"], found["ended_by"], clock[0]) == (3, "max_time", 104.0)
    assert found["seconds"]["fit"] == 14


@pytest.mark.slow
def test_accumulated_batches_are_one_step(train) -> None:
    """Of five batches, two, two and one: three steps an epoch, each image once in the history."""
    run = train("+trainer.accumulate_grad_batches=2", "scheduler=cosine", "epochs=2")
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 6
    assert last["lr_schedulers"][0]["T_max"] == 6
    assert numbers(run)["data"]["samples"]["train"] == 120
