"""Whole experiments on a small file, in this process: what they leave, and that it is true."""

from __future__ import annotations

import csv
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import FIGURES, NO_FIGURES, overridden
from PIL import Image

from dermaexp.core import files
from dermaexp.data import npz
from dermaexp.data.batches import Batches
from dermaexp.data.datamodule import ImageDataModule
from dermaexp.data.gray import luma
from dermaexp.data.sample import spread
from dermaexp.models.cnn import CNN
from dermaexp.models.ffn import FFN
from dermaexp.report import plots
from dermaexp.runs.directory import RunDirectory
from dermaexp.training.classifier import Classifier
from dermaexp.training.run_metrics import run_metrics

Cli = Callable[..., int]


@pytest.fixture
def train(cli: Cli, data_file: Path, tmp_path: Path) -> Callable[..., Path]:
    """Train on the small file for 3 epochs on the CPU; returns the run directory."""

    def run(*arguments: str, folder: str = "run", code: int = 0, figures: bool = False) -> Path:
        options = ["dataset=npz", f"dataset.path={data_file}", "trainer=cpu", "epochs=3"]
        options += [] if figures else NO_FIGURES
        assert cli(*overridden(options, *arguments), f"hydra.run.dir={folder}") == code
        return tmp_path / folder

    return run


def read(run: Path, name: str) -> dict:
    return json.loads((run / name).read_text())


def without_seconds(run: Path) -> tuple[dict, list[dict]]:
    numbers = read(run, "metrics.json")
    del numbers["seconds"]
    rows = list(csv.DictReader((run / "history.csv").open()))
    for row in rows:
        del row["seconds"]
    return numbers, rows


@pytest.mark.slow
@pytest.mark.parametrize("model", ["ffn", "cnn"])
def test_a_run_leaves_all_of_it(train, model: str, data_file: Path) -> None:
    run = train(f"model={model}", "dataset.name=Small", figures=True)
    files = {str(file.relative_to(run)) for file in run.rglob("*") if file.is_file()}
    assert files == {
        *(f".hydra/{name}.yaml" for name in ("config", "hydra", "overrides")),
        "run.json",
        "history.csv",
        "metrics.json",
        "predictions.npz",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        *(f"figures/{name}.png" for name in FIGURES),
        "report.html",
        "dermaexp.log",
        ".lock",
    }
    record = read(run, "run.json")
    assert record["status"] == "finished"
    assert record["seed"] == 0
    assert record["name"] == model
    assert record["device"] == {"type": "cpu", "name": "cpu", "threads": torch.get_num_threads()}
    splits = npz.load(str(data_file), name="Small")
    data = {
        "name": "Small",
        "task": "multi-class",
        "fingerprint": splits.fingerprint,
        "test_fingerprint": splits.test_fingerprint,
        "synthetic": False,
        "split": {"kind": "official"},
    }
    assert record["data"] == data
    numbers = read(run, "metrics.json")
    assert numbers["data"] == data | {
        "size": 12,
        "channels": 1,
        "classes": ["class 0", "class 1", "class 2"],
        "samples": {"train": 120, "val": 40, "test": 50},
    }
    net = {"ffn": FFN, "cnn": CNN}[model]((1, 12, 12), 3)
    count = sum(parameter.numel() for parameter in net.parameters())
    assert numbers["model"] == {"name": model, "parameters": count}
    assert (numbers["epochs"], numbers["tested_with"]) == (3, "best")
    seconds = numbers["seconds"]
    assert set(seconds) == {"data", "fit", "test", "total"}
    assert sum(seconds.values()) <= 2 * seconds["total"] + 0.01
    for name in FIGURES:
        assert min(Image.open(run / "figures" / f"{name}.png").size) > 300


@pytest.mark.slow
def test_every_number_can_be_computed_from_the_run(train, arrays: dict, tmp_path: Path) -> None:
    run = train("model=cnn", "calibrate=true")
    stored = RunDirectory(run).read_predictions()
    numbers = read(run, "metrics.json")
    train_targets = arrays["train_labels"][:, 0]
    predictions = {}
    for split in ("val", "test"):
        targets, probabilities = stored[f"{split}_targets"], stored[f"{split}_probabilities"]
        predictions[split] = targets, probabilities
        assert probabilities.dtype == np.float32
        assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
        np.testing.assert_array_equal(targets, arrays[f"{split}_labels"][:, 0])
    classes = numbers["data"]["classes"]
    recomputed = run_metrics(predictions, train_targets, classes, calibrate=True)
    files.write_json(tmp_path / "again.json", recomputed)
    again = files.read_json(tmp_path / "again.json")
    assert again == {key: numbers[key] for key in again}
    assert {"val", "test", "operating_points", "calibration"} < set(again)

    history = RunDirectory(run).read_history()
    assert [row["epoch"] for row in history] == [1, 2, 3]
    best = max(history, key=lambda row: row["val_macro_auroc"])
    assert numbers["best_epoch"] == best["epoch"]
    for name in ("loss", "accuracy", "macro_auroc"):
        assert numbers["val"][name] == best[f"val_{name}"]
    assert numbers["train"] == {
        "loss": history[-1]["train_loss"],
        "accuracy": history[-1]["train_accuracy"],
    }
    assert numbers["test"]["macro_auroc"] > 0.95, "three shades of gray are easy"
    assert train_targets.size == numbers["data"]["samples"]["train"]


@pytest.mark.slow
def test_the_checkpoint_gives_the_same_predictions(train, data_file: Path) -> None:
    run = train("model=cnn", "dataset.normalize=true", "dataset.grayscale=false")
    checkpoint = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    classifier = Classifier(
        CNN((3, 12, 12), 3), torch.optim.Adam, mean=torch.zeros(3), std=torch.zeros(3)
    )
    classifier.load_state_dict(checkpoint["state_dict"])
    splits = npz.load(str(data_file))
    images = torch.from_numpy(splits.test.images).permute(0, 3, 1, 2)
    with torch.inference_mode():
        again = classifier(images).softmax(dim=1).numpy()
    stored = RunDirectory(run).read_predictions()["test_probabilities"]
    assert again == pytest.approx(stored, abs=1e-6)
    scaled = splits.train.images / 255
    assert classifier.mean.flatten().numpy() == pytest.approx(scaled.mean(axis=(0, 1, 2)), rel=1e-5)
    assert classifier.std.flatten().numpy() == pytest.approx(scaled.std(axis=(0, 1, 2)), rel=1e-5)


@pytest.mark.slow
def test_the_same_command_gives_the_same_numbers(train) -> None:
    first, second = (train("model=cnn", folder=folder) for folder in ("first", "second"))
    assert without_seconds(first) == without_seconds(second)
    assert (first / "predictions.npz").read_bytes() == (second / "predictions.npz").read_bytes()
    digests = {read(run, "run.json")["config_digest"] for run in (first, second)}
    assert len(digests) == 1
    other = train("model=cnn", "seed=1", folder="other")
    assert without_seconds(other)[0]["test"]["loss"] != without_seconds(first)[0]["test"]["loss"]
    assert read(other, "run.json")["config_digest"] not in digests


@pytest.mark.slow
def test_equal_to_a_bare_torch_loop(train, data_file: Path) -> None:
    """Lightning, callbacks and all leave the numbers of the plainest training there is."""
    run = train("model=ffn", "batch_size=32", "checkpoint.test_with=last")
    torch.manual_seed(0)
    net = FFN((1, 12, 12), 3)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    data = ImageDataModule(npz.load(str(data_file)), batch_size=32, grayscale=True, seed=0)
    images, labels, _ = data.images["train"][torch.arange(120)]
    losses, accuracies = [], []
    for epoch in range(3):
        batches = Batches(120, 32, seed=0)
        batches.set_epoch(epoch)
        total, hits = 0.0, 0
        for indices in batches:
            logits = net(images[indices] / 255)
            loss = torch.nn.functional.cross_entropy(logits, labels[indices])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(indices)
            hits += int((logits.argmax(dim=1) == labels[indices]).sum())
        losses.append(total / 120)
        accuracies.append(hits / 120)
    with torch.inference_mode():
        expected = net(data.images["test"][torch.arange(50)][0] / 255).softmax(dim=1).numpy()
    stored = RunDirectory(run).read_predictions()["test_probabilities"]
    assert stored == pytest.approx(expected, abs=1e-6)
    history = RunDirectory(run).read_history()
    assert [row["train_loss"] for row in history] == pytest.approx(losses)
    assert [row["train_accuracy"] for row in history] == pytest.approx(accuracies)


@pytest.mark.slow
def test_best_and_last_weights(train) -> None:
    """A learning rate that wrecks the model after half of the training: the best epoch is early."""
    wreck = (
        "model=ffn",
        "scheduler=multistep",
        "scheduler.milestones=[0.6]",
        "scheduler.gamma=1e4",
    )
    best = read(train(*wreck, "epochs=4", folder="best"), "metrics.json")
    last = read(
        train(*wreck, "epochs=4", "checkpoint.test_with=last", folder="last"), "metrics.json"
    )
    assert best["best_epoch"] == last["best_epoch"] < 4
    assert best["val"]["macro_auroc"] > last["val"]["macro_auroc"]
    history = RunDirectory(Path("last")).read_history()
    assert last["val"]["loss"] == history[-1]["val_loss"]
    assert best["val"]["loss"] == history[best["best_epoch"] - 1]["val_loss"]


CALLBACKS = {
    "last_checkpoint": "checkpoints/last.ckpt",
    "predictions": "predictions.npz",
    **{name: f"figures/{name}.png" for name in FIGURES},
}


@pytest.mark.slow
@pytest.mark.parametrize("part", [0, 1], ids=["every other one", "the others"])
def test_callbacks_are_switched_off_one_by_one(train, part: int) -> None:
    off = list(CALLBACKS)[part::2]
    run = train("model=ffn", "epochs=1", *(f"callbacks.{name}=null" for name in off), figures=True)
    left = {str(file.relative_to(run)) for file in run.rglob("*.*") if file.is_file()}
    assert set(CALLBACKS.values()) & left == {CALLBACKS[name] for name in CALLBACKS.keys() - off}
    assert {"run.json", "metrics.json", "history.csv", "checkpoints/best.ckpt"} <= left


@pytest.mark.slow
def test_without_callbacks_the_numbers_are_left(train) -> None:
    options = ("callbacks=none", "checkpoint.test_with=last", "report=false")
    run = train("model=ffn", *options, figures=True)
    assert {path.name for path in run.iterdir()} == {
        ".hydra",
        ".lock",
        "dermaexp.log",
        "metrics.json",
        "run.json",
    }
    assert read(run, "metrics.json")["best_epoch"] is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "scheduler", "expected"),
    # Two steps an epoch, six in all; the rate at steps 0, 2 and 4.
    [
        ("adam", "none", [0.01, 0.01, 0.01]),
        ("adamw", "cosine", [0.01, 0.0075, 0.0025]),
        ("sgd", "multistep", [0.01, 0.01, 0.0001]),
        ("adam", "onecycle", [0.0004, 0.008117, 0.001335]),
    ],
)
def test_optimizers_and_schedulers(
    train, optimizer: str, scheduler: str, expected: list[float]
) -> None:
    run = train(
        "model=ffn", f"optimizer={optimizer}", f"scheduler={scheduler}", "optimizer.lr=0.01"
    )
    rates = [row["lr"] for row in RunDirectory(run).read_history()]
    assert rates == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
def test_a_loss_that_is_not_a_number_is_named(train, capsys) -> None:
    """The rate explodes in epoch 3 of 4; what was good before stays."""
    run = train(
        "model=ffn",
        "epochs=4",
        "batch_size=60",
        "scheduler=multistep",
        "scheduler.milestones=[0.5]",
        "scheduler.gamma=1e38",
        "optimizer=sgd",
        code=1,
    )
    errors = capsys.readouterr().err
    assert "error: the loss is not a number in epoch 3, step 2: try a lower optimizer.lr" in errors
    assert "; checkpoints/ keeps the epoch before" in errors
    assert read(run, "run.json")["status"] == "failed"
    assert [row["epoch"] for row in RunDirectory(run).read_history()] == [1, 2]
    for name in ("best", "last"):
        state = torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]
        assert all(torch.isfinite(value).all() for value in state.values())
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 1
    assert not (run / "metrics.json").exists()


def test_a_disk_that_fills_up_is_reported(train, monkeypatch, capsys) -> None:
    """As soon as the first records are written, nothing more can be."""
    writes = []

    def fill_up(_: int) -> None:
        writes.append(1)
        if len(writes) > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", fill_up)
    run = train("model=ffn", code=1)
    assert capsys.readouterr().err == ("error: the disk is full: free some space and start again\n")
    assert read(run, "run.json")["status"] == "running", "the last record that could be written"
    assert not [file for file in run.rglob("*") if file.name.endswith(".tmp")]


@pytest.mark.slow
def test_the_debug_trainer_says_how_little_it_saw(
    train, arrays: dict, data_file: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """Of a folder sorted by class it sees every class, and shows the very images it got wrong."""
    for split in ("train", "val", "test"):
        order = np.argsort(arrays[f"{split}_labels"][:, 0], kind="stable")
        for part in ("images", "labels"):
            arrays[f"{split}_{part}"] = arrays[f"{split}_{part}"][order]
    np.savez(data_file, **arrays)
    shown = []
    monkeypatch.setattr(plots, "misclassified", lambda images, *_, **__: shown.append(images))
    monkeypatch.setattr("dermaexp.report.style.write_figure", lambda *_: None)
    run = train("model=ffn", "trainer=debug", "batch_size=8", figures=True)
    numbers = read(run, "metrics.json")
    assert numbers["data"]["samples"] == {"train": 32, "val": 32, "test": 32}
    assert numbers["epochs"] == 2
    assert "test, 32 of 50 images" in capsys.readouterr().out
    labels = arrays["test_labels"][:, 0].astype(int)
    used = spread(labels, 32)
    stored = RunDirectory(run).read_predictions()
    np.testing.assert_array_equal(stored["test_targets"], labels[used])
    assert set(stored["test_targets"]) == set(stored["val_targets"]) == {0, 1, 2}
    held = shown[0]
    np.testing.assert_array_equal(held.images, luma(arrays["test_images"])[used][held.places])


@pytest.mark.slow
@pytest.mark.parametrize("where", ["__init__", "forward"])
def test_an_exit_of_the_model_is_a_failure(
    train, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    (tmp_path / "leaving.py").write_text(
        "import sys, torch\n"
        "class Leaving(torch.nn.Linear):\n"
        "    def __init__(self, image_shape, classes, where, **_):\n"
        "        super().__init__(image_shape[1] ** 2, classes)\n"
        "        self.where = where\n"
        "        if where == '__init__':\n"
        "            sys.exit('no')\n"
        "    def forward(self, images):\n"
        "        if self.training and self.where == 'forward':\n"
        "            sys.exit('no')\n"
        "        return super().forward(images.flatten(1))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    run = train("model=ffn", "model._target_=leaving.Leaving", f"+model.where={where}", code=1)
    line = "sys.exit('no') was called by the model, a callback or another part of the run"
    assert capsys.readouterr().err == f"error: {line}: raise an error there instead\n"
    record = read(run, "run.json")
    assert (record["status"], record["error"].partition(":")[0]) == ("failed", line)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["model", "validation", "callback"])
def test_a_stop_iteration_is_a_failure(
    train, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """Lightning would take it for the end of the data, and the numbers for those of all of it."""
    (tmp_path / "stopping.py").write_text(
        "import torch\n"
        "from pytorch_lightning import Callback\n"
        "class Model(torch.nn.Linear):\n"
        "    def __init__(self, image_shape, classes, where, **_):\n"
        "        super().__init__(image_shape[1] ** 2, classes)\n"
        "        self.where = where\n"
        "    def forward(self, images):\n"
        "        now = 'model' if self.training else 'validation'\n"
        "        if self.where == now and len(images) > 2:\n"
        "            raise StopIteration\n"
        "        return super().forward(images.flatten(1))\n"
        "class Stopping(Callback):\n"
        "    def on_train_batch_start(self, trainer, module, batch, number):\n"
        "        if number == 1:\n"
        "            raise StopIteration\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    options = ["model=ffn", "model._target_=stopping.Model", f"+model.where={where}"]
    if where == "callback":
        options.append("+callbacks.own._target_=stopping.Stopping")
    run = train(*options, "batch_size=40", code=1)
    errors = capsys.readouterr().err
    assert "raised StopIteration" in errors and errors.count("\n") == 1
    assert read(run, "run.json")["status"] == "failed"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            ["batch_size=2", "trainer=ddp", "trainer.devices=4", "trainer.accelerator=cpu"],
            "batch_size=2 leaves a process without an image: expected at least 4 images in a batch",
        ),
        (
            ["batch_size=1", "model=resnet11", "model.width=4"],
            "batch_size=1 gives a process one image of a batch of 1, from which the batch "
            "normalisation of model=resnet11 learns nothing",
        ),
        (
            ["model=resnet11", "+trainer.limit_train_batches=0.001"],
            "train with 1 image gives a process one image of a batch of 1",
        ),
        (
            [  # 39, 39, 39 and 3 images: a process gets one of the last batch
                *("model=resnet11", "model.width=4", "batch_size=39"),
                *("trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu"),
            ],
            "batch_size=39 gives a process one image of a batch of 3",
        ),
    ],
)
def test_too_few_images_for_a_process(train, given: list[str], line: str, capsys) -> None:
    """Refused before anything is trained, and before other processes start."""
    run = train(*overridden(["model=ffn"], *given), code=1)
    errors = capsys.readouterr().err
    assert line in errors
    assert errors.count("\n") == 1
    assert not (run / "history.csv").exists()


@pytest.mark.slow
def test_a_batch_of_one_trains_what_can_be_trained(train) -> None:
    run = train("model=ffn", "+trainer.limit_train_batches=0.001")
    assert read(run, "metrics.json")["data"]["samples"]["train"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("key", ["stopping_threshold=0", "divergence_threshold=2"])
def test_a_resumed_run_stays_stopped(train, cli: Cli, key: str) -> None:
    """By a threshold that the first epoch reaches."""
    stopping = ["callbacks=[default,early_stopping]", f"+callbacks.early_stopping.{key}"]
    run = train("model=ffn", *stopping)
    numbers = read(run, "metrics.json")
    assert (numbers["epochs"], numbers["ended_by"]) == (1, "early_stopping")
    (run / "metrics.json").unlink()
    assert cli(f"resume={run}") == 0
    again = read(run, "metrics.json")
    assert {**again, "seconds": None} == {**numbers, "seconds": None}
    assert len(RunDirectory(run).read_history()) == 1


@pytest.mark.slow
def test_the_table_shows_the_majority_baseline(train, capsys, arrays: dict) -> None:
    run = train("model=ffn")
    numbers = read(run, "metrics.json")
    lines = capsys.readouterr().out.splitlines()
    (row,) = [line.split() for line in lines if "balanced accuracy" in line]
    values = [float(cell) for cell in row if cell[0].isdigit() and "\N{EN DASH}" not in cell]
    shares = [numbers[split]["balanced_accuracy"] for split in ("val", "test")]
    assert values == pytest.approx([*shares, 1 / 3], abs=5e-5)
    (row,) = [line.split() for line in lines if line.startswith("│ accuracy")]
    low, high = numbers["test"]["intervals"]["accuracy"]
    assert f"{low:.3f}\N{EN DASH}{high:.3f}" in row
    majority = np.mean(arrays["test_labels"] == 1)
    assert float(row[-2]) == pytest.approx(majority, abs=5e-5)
    assert lines[-1] == f"run directory: {run}"


@pytest.mark.slow
def test_the_table_shows_the_operating_point_of_melanoma(train, capsys) -> None:
    run = train("model=ffn", "dataset.classes=[nevus,melanoma,wart]", "calibrate=true")
    numbers = read(run, "metrics.json")
    output = capsys.readouterr().out
    point = numbers["operating_points"]["classes"]["melanoma"]
    (row,) = [line.split() for line in output.splitlines() if "melanoma sensitivity" in line]
    low, high = point["test"]["intervals"]["sensitivity"]
    shares = [f"{point[split]['sensitivity']:.4f}" for split in ("val", "test")]
    assert [cell for cell in row if "0" <= cell[0] <= "9"] == [
        *shares,
        f"{low:.3f}\N{EN DASH}{high:.3f}",
    ]
    assert "melanoma: at the threshold with 95\N{NO-BREAK SPACE}% specificity on val" in output
    temperature = numbers["calibration"]["temperature"]
    assert f"at temperature {temperature:.2f}, fitted on val" in output


@pytest.mark.slow
def test_a_finished_job_is_calibrated_without_training_again(
    cli: Cli, data_file: Path, tmp_path: Path, capsys
) -> None:
    data = ("dataset=npz", f"dataset.path={data_file}", "trainer=cpu", "epochs=3", *NO_FIGURES)
    command = ("-m", "name=study", "model=ffn", "seed=0", *data)
    assert cli(*command) == 0
    (run,) = (file.parent for file in tmp_path.glob("multirun/study/*/metrics.json"))
    raw, history = without_seconds(run), (run / "history.csv").read_bytes()
    assert "calibration" not in raw[0]
    capsys.readouterr()
    assert cli(*command, "calibrate=true") == 0
    assert "epoch 1/3" not in capsys.readouterr().out
    numbers, rows = without_seconds(run)
    assert numbers.pop("calibration")["temperature"] > 0
    assert ((numbers, rows), (run / "history.csv").read_bytes()) == (raw, history)
    assert cli(*command, "calibrate=true") == 0
    assert "finished before: not run again" in capsys.readouterr().out
    assert len(list(tmp_path.glob("multirun/study/*/metrics.json"))) == 1


@pytest.mark.slow
def test_the_run_returns_its_val_score(train, monkeypatch) -> None:
    from dermaexp.launch import job

    returned = []
    run_job = job.run_job
    monkeypatch.setattr(job, "run_job", lambda c, **_: returned.append(run_job(c)) or returned[0])
    run = train("model=ffn")
    assert returned == [read(run, "metrics.json")["val"]["macro_auroc"]]


@pytest.mark.slow
def test_names_are_text_and_nothing_else(train, capsys) -> None:
    """Neither markup for the terminal, nor mathematics for a figure, nor a path."""
    name = "a/b [/c] $x^$"
    run = train("model=ffn", "epochs=1", f'name="{name}"', figures=True)
    assert read(run, "run.json")["name"] == name
    assert f"{name} on small" in capsys.readouterr().out


@pytest.mark.slow
def test_a_name_never_leaves_the_folder_of_its_day(cli, data_file: Path, tmp_path: Path) -> None:
    options = ("dataset=npz", f"dataset.path={data_file}", "model=ffn", "epochs=1", *NO_FIGURES)
    assert cli(*options, 'name="../../x y"') == 0
    (run,) = tmp_path.glob("outputs/*/*")
    assert run.name.endswith("_..-..-x-y")


@pytest.mark.slow
def test_val_with_one_class_cannot_choose_an_epoch(
    train, arrays: dict, data_file: Path, capsys
) -> None:
    np.savez(data_file, **{**arrays, "val_labels": np.zeros_like(arrays["val_labels"])})
    train("model=ffn", code=1)
    assert "val of small holds one class" in capsys.readouterr().err
    run = train("model=ffn", "checkpoint.test_with=last", folder="last")
    assert read(run, "metrics.json")["val"]["macro_auroc"] is None


@pytest.mark.slow
def test_a_model_with_other_outputs_is_refused(train, tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "wrong.py").write_text(
        "import torch\n"
        "class Wrong(torch.nn.Module):\n"
        "    def __init__(self, image_shape, classes, **_):\n"
        "        super().__init__()\n"
        "        self.layer = torch.nn.LazyLinear(classes + 1)\n"
        "    def forward(self, images):\n"
        "        return self.layer(images.flatten(1))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    train("model=ffn", "model._target_=wrong.Wrong", code=1)
    assert "model gives (2, 4) for 2 images: expected (2, 3)" in capsys.readouterr().err
