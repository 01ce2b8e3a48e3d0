"""Lightning's own callbacks, and a user's, work on what the classifier logs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning.callbacks import LearningRateMonitor

from dermaexp.runs.directory import RunDirectory

OWN = """
import json
from pathlib import Path
from pytorch_lightning import Callback
class Seen(Callback):
    def __init__(self, file):
        self.file, self.seen = file, []
    def on_validation_end(self, trainer, module):
        self.seen.append({name: float(x) for name, x in trainer.callback_metrics.items()})
    def on_test_end(self, trainer, module):
        self.on_validation_end(trainer, module)
        Path(self.file).write_text(json.dumps(self.seen))
"""


@pytest.fixture
def train(cli: Callable[..., int], data_file: Path, tmp_path: Path) -> Callable[..., Path]:
    def run(*arguments: str) -> Path:
        options = ["dataset=npz", f"dataset.path={data_file}", "trainer=cpu", "model=ffn"]
        options += ["epochs=3", "callbacks=no_figures", "report=false", "hydra.run.dir=run"]
        assert cli(*options, *arguments) == 0
        return tmp_path / "run"

    return run


@pytest.mark.slow
def test_a_callback_of_ones_own_sees_every_metric(
    train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    run = train("+callbacks.seen._target_=own.Seen", "+callbacks.seen.file=seen.json")
    *epochs, val, test = json.loads((tmp_path / "seen.json").read_text())
    history = RunDirectory(run).read_history()
    names = [f"{split}_{score}" for split in ("train", "val") for score in ("loss", "accuracy")]
    for seen, row in zip(epochs, history, strict=True):
        for name in (*names, "val_macro_auroc"):
            assert seen[name] == np.float32(row[name])
    numbers = RunDirectory(run).read_metrics()
    for score in ("loss", "accuracy", "macro_auroc"):
        assert val[f"val_{score}"] == np.float32(numbers["val"][score])
        assert test[f"test_{score}"] == np.float32(numbers["test"][score])


@pytest.mark.slow
@pytest.mark.parametrize("monitor", ["val_loss", "train_loss"])
def test_early_stopping(train, monitor: str) -> None:
    stop = "+callbacks.stop"
    run = train(
        f"{stop}._target_=pytorch_lightning.callbacks.EarlyStopping",
        f"{stop}.monitor={monitor}",
        f"{stop}.patience=1",
        f"{stop}.min_delta=100",  # nothing is ever good enough
    )
    numbers = RunDirectory(run).read_metrics()
    assert (numbers["epochs"], numbers["ended_by"]) == (2, "early_stopping")


@pytest.mark.slow
def test_model_checkpoint(train) -> None:
    """One that keeps the epochs with the lowest val loss, beside best.ckpt and last.ckpt."""
    keep = "+callbacks.keep"
    run = train(
        f"{keep}._target_=pytorch_lightning.callbacks.ModelCheckpoint",
        f"{keep}.monitor=val_loss",
        f'{keep}.filename="{{epoch}}"',
        f"{keep}.save_top_k=2",
    )
    losses = [row["val_loss"] for row in RunDirectory(run).read_history()]
    lowest = {f"epoch={epoch}.ckpt" for epoch in np.argsort(losses)[:2]}
    files = {file.name for file in (run / "checkpoints").iterdir()}
    assert files == {"best.ckpt", "last.ckpt"} | lowest
    for name in lowest:
        assert torch.load(run / "checkpoints" / name, weights_only=True)["state_dict"]


@pytest.mark.slow
def test_learning_rate_monitor(train, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks for a logger; its rates are those of history.csv."""
    rates = []
    end = LearningRateMonitor.on_train_epoch_start

    def start(self: LearningRateMonitor, trainer, *arguments: object) -> None:
        end(self, trainer, *arguments)
        rates.append(float(trainer.callback_metrics["lr-Adam"]))

    monkeypatch.setattr(LearningRateMonitor, "on_train_epoch_start", start)
    monitor = "+callbacks.rate"
    run = train(
        f"{monitor}._target_=pytorch_lightning.callbacks.LearningRateMonitor",
        f"{monitor}.logging_interval=epoch",
        "scheduler=cosine",
    )
    assert rates == pytest.approx([row["lr"] for row in RunDirectory(run).read_history()])
    assert rates[0] > rates[1] > rates[2]


@pytest.mark.slow
def test_stochastic_weight_averaging(train) -> None:
    """It changes the weights after the last epoch and last.ckpt: these are tested with."""
    average = "+callbacks.average"
    run = train(
        f"{average}._target_=pytorch_lightning.callbacks.StochasticWeightAveraging",
        f"{average}.swa_lrs=0.01",
        f"{average}.swa_epoch_start=1",
        "checkpoint.test_with=last",
    )
    directory = RunDirectory(run)
    last = directory.read_history()[-1]
    assert directory.read_metrics()["val"]["loss"] != pytest.approx(last["val_loss"], rel=1e-6)
