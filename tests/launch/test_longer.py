"""`resume=DIR epochs=N`: the run of N epochs to the last digit, or one line that says why not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import NO_FIGURES, Killed, kill_at_write, numbers

from dermaexp.data import load
from dermaexp.runs import provenance

Cli = Callable[..., int]
pytestmark = pytest.mark.slow


@pytest.fixture
def options(data_file: Path) -> list[str]:
    return [
        "dataset=npz",
        f"dataset.path={data_file}",
        "trainer=cpu",
        "batch_size=16",
        "model=ffn",
        "~model.hidden",
        "~model.activation",
        "model._target_=helpers.DropoutNet",
        "augment=strong",
        "augment.mixup=0",
        *NO_FIGURES,
    ]


def record_of(run: Path) -> dict:
    return json.loads((run / "run.json").read_text())


def bytes_of(run: Path) -> dict[Path, bytes]:
    return {
        file: file.read_bytes()
        for file in run.rglob("*")
        if file.is_file() and file.name not in (".lock", "dermaexp.log")
    }


@pytest.mark.parametrize(
    "more",
    [
        [],
        [
            "callbacks=[default,ema,early_stopping]",
            "callbacks.ema.decay=0.9",
            "callbacks.early_stopping.patience=4",
            "checkpoint.test_with=last",
        ],
    ],
    ids=["plain", "average and early stopping"],
)
def test_more_epochs_give_the_run_of_so_many(
    cli: Cli, options: list[str], tmp_path: Path, capsys, more: list[str]
) -> None:
    options += more
    assert cli(*options, "epochs=4", "hydra.run.dir=whole") == 0
    assert cli(*options, "epochs=2", "hydra.run.dir=run") == 0
    run, whole = tmp_path / "run", tmp_path / "whole"
    first = record_of(run)
    capsys.readouterr()
    assert cli("resume=run", "epochs=4") == 0
    output = capsys.readouterr().out
    assert [n for n in range(1, 5) if f"epoch {n}/4" in output] == [3, 4]
    both = ("best", "last")
    assert numbers(run, both) == numbers(whole, both)
    record = record_of(run)
    assert record["config"]["epochs"] == record["config"]["trainer"]["max_epochs"] == 4
    assert record["config_digest"] == record_of(whole)["config_digest"] != first["config_digest"]
    assert (record["status"], record["started"]) == ("finished", first["started"])
    (resumption,) = record["resumed"]
    assert resumption["earlier_epochs"] == 2
    assert " epochs=4 " in resumption["command"] and "epochs=2" not in resumption["command"]
    before = bytes_of(run)
    for again in (["resume=run"], ["resume=run", "epochs=4"]):
        assert cli(*again) == 0
        assert "finished before: not run again" in capsys.readouterr().out
    results = ("run.json", "metrics.json", "history.csv", "predictions.npz", "checkpoints")
    kept = [file for file in before if file.relative_to(run).parts[0] in results]
    assert [file.read_bytes() for file in kept] == [before[file] for file in kept]


def test_an_interrupted_longer_run_keeps_the_results_until_it_finishes(
    cli: Cli, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli(*options, "epochs=4", "hydra.run.dir=whole") == 0
    assert cli(*options, "epochs=2", "hydra.run.dir=run") == 0
    run = tmp_path / "run"
    shorter = [(run / name).read_bytes() for name in ("metrics.json", "predictions.npz")]
    with monkeypatch.context() as patch:
        kill_at_write(5, patch)  # after the third epoch
        with pytest.raises(Killed):
            cli("resume=run", "epochs=4")
    assert record_of(run)["status"] == "running"
    assert [(run / name).read_bytes() for name in ("metrics.json", "predictions.npz")] == shorter
    failed = record_of(run) | {"status": "failed"}
    (run / "run.json").write_text(json.dumps(failed))
    # Other code makes a failed run start anew, but not one with results.
    monkeypatch.setattr(provenance, "_code", lambda: {"git_commit": None, "code_digest": "other"})
    assert cli("resume=run") == 0
    both = ("best", "last")
    assert numbers(run, both) == numbers(tmp_path / "whole", both)
    assert [attempt.get("earlier_epochs") for attempt in record_of(run)["resumed"]] == [2, None]


@pytest.mark.parametrize(
    ("more", "epochs", "reason"),
    [
        (["scheduler=cosine"], 3, "scheduler=cosine spans the whole training"),
        (["scheduler=multistep"], 3, "scheduler=multistep spans the whole training"),
        (["scheduler=onecycle"], 3, "scheduler=onecycle spans the whole training"),
        (
            [
                "+callbacks.swa._target_=pytorch_lightning.callbacks.StochasticWeightAveraging",
                "+callbacks.swa.swa_lrs=0.01",
            ],
            3,
            "callbacks.swa may depend on the number of epochs planned",
        ),
        (["trainer.max_epochs=2"], 3, "trainer.max_epochs is 2; start a new run with trainer.max"),
        (["+trainer.max_steps=9"], 3, "max_steps ended the training, and would again"),
        (["callbacks.last_checkpoint=null"], 3, "last.ckpt, from which to train on, is missing"),
        ([], 1, "2 epochs are trained already"),
        ([], "many", "epochs=many: expected a whole number from 1"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_where_more_epochs_are_refused(
    cli: Cli,
    options: list[str],
    tmp_path: Path,
    capsys,
    more: list[str],
    epochs: int | str,
    reason: str,
) -> None:
    assert cli(*options, "epochs=2", *more, "hydra.run.dir=run") == 0
    before = bytes_of(tmp_path / "run")
    capsys.readouterr()
    assert cli("resume=run", f"epochs={epochs}") == 1
    error = capsys.readouterr().err
    assert reason in error and error.count("\n") == 1
    assert bytes_of(tmp_path / "run") == before, "not even Hydra's record"


def test_other_data_are_refused(
    cli: Cli,
    options: list[str],
    arrays: dict[str, np.ndarray],
    data_file: Path,
    tmp_path: Path,
    capsys,
) -> None:
    assert cli(*options, "epochs=1", "hydra.run.dir=run") == 0
    before = bytes_of(tmp_path / "run")
    arrays["train_images"][0] += 1
    np.savez(data_file, **arrays)
    load._kept.clear()
    assert cli("resume=run", "epochs=2") == 1
    assert "was trained on other data than there are now" in capsys.readouterr().err
    after = bytes_of(tmp_path / "run")
    assert all(after[file] == before[file] for file in before if ".hydra" not in file.parts)


def test_sweeps_are_refused(cli: Cli, options: list[str], tmp_path: Path, capsys) -> None:
    assert cli("-m", *options, "epochs=1", "seed=0,1", "hydra.sweep.dir=sweep") == 0
    job = next(path.parent for path in (tmp_path / "sweep").glob("*/run.json"))
    capsys.readouterr()
    assert cli("resume=sweep", "epochs=2") == 1
    assert "expected no epochs=2; start a new sweep with it" in capsys.readouterr().err
    assert cli(f"resume={job}", "epochs=2") == 1
    assert "is a job of a sweep" in capsys.readouterr().err
    shutil.copytree(job, tmp_path / "alone")
    assert cli("resume=alone", "epochs=2") == 0
    assert json.loads((tmp_path / "alone" / "metrics.json").read_text())["epochs"] == 2
