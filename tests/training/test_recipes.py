"""What a recipe adds to a training, in whole runs on a small file: the numbers stay true."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import NO_FIGURES, overridden

from dermaexp.data import npz
from dermaexp.data.batches import Batches
from dermaexp.data.datamodule import ImageDataModule
from dermaexp.metrics import calibration
from dermaexp.models.cnn import CNN
from dermaexp.runs.directory import RunDirectory
from dermaexp.training.classifier import Classifier
from dermaexp.training.tta import zoomed

Train = Callable[..., Path]


@pytest.fixture
def train(cli: Callable[..., int], data_file: Path, tmp_path: Path) -> Train:
    def run(*arguments: str, folder: str = "run") -> Path:
        options = ["dataset=npz", f"dataset.path={data_file}", "trainer=cpu", "model=cnn"]
        options += ["epochs=3", *NO_FIGURES]
        assert cli(*overridden(options, *arguments), f"hydra.run.dir={folder}") == 0
        return tmp_path / folder

    return run


def probabilities(state: dict, images: np.ndarray, turns: range, flips: tuple[bool, ...]):
    """What the small CNN with the weights `state` says of gray images, averaged over views."""
    classifier = Classifier(CNN((1, 12, 12), 3), torch.optim.Adam)
    classifier.mean, classifier.std = torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
    classifier.load_state_dict(state)
    batch = torch.from_numpy(images).permute(0, 3, 1, 2)
    with torch.inference_mode():
        views = [
            classifier(torch.rot90(batch.flip(3) if flip else batch, turn, (2, 3))).softmax(dim=1)
            for flip in flips
            for turn in turns
        ]
    return torch.stack(views).mean(dim=0).numpy()


@pytest.fixture
def test_images(data_file: Path) -> np.ndarray:
    data = ImageDataModule(npz.load(str(data_file)), batch_size=8, grayscale=True, seed=0)
    return data.images["test"].images.numpy()


def checkpoint(run: Path, name: str) -> dict:
    return torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)


@pytest.mark.slow
def test_the_moving_average_of_the_best_epoch_is_tested(train: Train, test_images) -> None:
    run = train("callbacks=[default,ema]", "callbacks.ema.decay=0.9", "optimizer.lr=0.03")
    best, last = checkpoint(run, "best"), checkpoint(run, "last")
    stored = RunDirectory(run).read_predictions()["test_probabilities"]
    numbers = json.loads((run / "metrics.json").read_text())
    assert numbers["best_epoch"] < 3, "a best epoch that is the last one shows nothing"
    of_average = probabilities(best["state_dict"], test_images, range(1), (False,))
    assert of_average == pytest.approx(stored, abs=1e-6)
    for other in (best["current_model_state"], last["state_dict"]):
        of_other = probabilities(other, test_images, range(1), (False,))
        assert np.abs(of_other - stored).max() > 1e-3
    history = RunDirectory(run).read_history()
    assert numbers["val"]["loss"] == history[numbers["best_epoch"] - 1]["val_loss"]


@pytest.mark.slow
def test_the_average_is_that_of_every_step(train: Train) -> None:
    """One epoch of 8 steps: decay 0.5 leaves the sum of weights / 2 ** age."""
    steps: list[dict] = []

    class Weights(torch.optim.SGD):
        def step(self, closure=None):
            loss = super().step(closure)
            steps.append([p.detach().clone() for p in self.param_groups[0]["params"]])
            return loss

    torch.optim.Weights = Weights
    try:
        run = train(
            "epochs=1",
            "batch_size=16",
            "optimizer=sgd",
            "optimizer._target_=torch.optim.Weights",
            "callbacks=[default,ema]",
            "callbacks.ema.decay=0.5",
        )
    finally:
        del torch.optim.Weights
    assert len(steps) == 8
    expected = steps[0]
    for step in steps[1:]:
        expected = [(a + b) / 2 for a, b in zip(expected, step, strict=True)]
    state = checkpoint(run, "last")["state_dict"]
    averaged = [value for key, value in state.items() if key.startswith("net.")]
    for value, other in zip(averaged, expected, strict=True):
        assert value.numpy() == pytest.approx(other.numpy(), abs=1e-6)


@pytest.mark.slow
def test_early_stopping_ends_the_training(train: Train, capsys: pytest.CaptureFixture) -> None:
    run = train(
        "callbacks=[default,early_stopping]",
        "epochs=6",
        "callbacks.early_stopping.patience=1",
        "+callbacks.early_stopping.min_delta=1",  # nothing is ever good enough
        "report=true",
    )
    assert "ended after 2 of 6 epochs" in capsys.readouterr().out
    assert "2 of 6 epochs on" in (run / "report.html").read_text()
    assert len(RunDirectory(run).read_history()) == 2
    numbers = json.loads((run / "metrics.json").read_text())
    assert (numbers["epochs"], numbers["planned_epochs"]) == (2, 6)


@pytest.mark.slow
def test_patience_of_zero_stops_after_the_first_epoch_that_is_no_better(train: Train) -> None:
    more = ("callbacks.early_stopping.patience=0", "+callbacks.early_stopping.min_delta=1")
    run = train("callbacks=[default,early_stopping]", *more)
    assert len(RunDirectory(run).read_history()) == 2


@pytest.mark.slow
def test_final_predictions_are_averaged_over_eight_views(train: Train, test_images) -> None:
    run = train("test_time_augment=dihedral")
    best = checkpoint(run, "best")["state_dict"]
    stored = RunDirectory(run).read_predictions()["test_probabilities"]
    averaged = probabilities(best, test_images, range(4), (False, True))
    assert averaged == pytest.approx(stored, abs=1e-6)
    plain = probabilities(best, test_images, range(1), (False,))
    assert np.abs(plain - stored).max() > 1e-3


@pytest.mark.slow
def test_final_predictions_are_averaged_over_zooms_too(train: Train, test_images) -> None:
    run = train("test_time_augment=dihedral_zoom")
    best = checkpoint(run, "best")["state_dict"]
    pixels = torch.from_numpy(test_images).permute(0, 3, 1, 2).float()
    each = [
        probabilities(best, zoomed(pixels, zoom).permute(0, 2, 3, 1).numpy(), range(4), (0, 1))
        for zoom in (1 / 1.15, 1, 1.15)
    ]
    stored = RunDirectory(run).read_predictions()["test_probabilities"]
    assert np.mean(each, axis=0) == pytest.approx(stored, abs=1e-6)
    assert np.abs(each[1] - stored).max() > 1e-3


@pytest.mark.slow
def test_a_temperature_at_a_limit_of_its_search_is_reported(
    train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(calibration, "HOTTEST", 1.0001)  # so that the best one lies beyond
    run = train("calibrate=true", "report=true")
    assert json.loads((run / "metrics.json").read_text())["calibration"]["at_limit"]
    told = " ".join(capsys.readouterr().out.split())
    assert "a limit of the search: no temperature minimises the loss" in told
    page = (run / "report.html").read_text()
    assert "a limit of the search: no temperature minimises the loss on val" in page
    assert "which minimises the loss on val" not in page


def test_a_balanced_sampler_takes_all_classes_equally_often() -> None:
    counts = torch.tensor([10, 1000, 90])
    labels = torch.repeat_interleave(torch.arange(3), counts)
    batches = Batches(1100, 100, seed=0, weights=(1 / counts.double())[labels])
    drawn = torch.zeros(3)
    for epoch in range(30):
        batches.set_epoch(epoch)
        indices = torch.cat(list(batches))
        assert len(indices) == 1100
        drawn += labels[indices].bincount(minlength=3)
    # of 33,000 draws 11,000 each; the standard deviation is sqrt(33,000 * 1/3 * 2/3) = 86
    assert (drawn - 11_000).abs().max() < 5 * 86


def test_the_balance_of_a_data_module(data_file: Path) -> None:
    splits = npz.load(str(data_file))
    data = ImageDataModule(splits, batch_size=8, grayscale=True, seed=0, balance=0.5)
    counts = np.bincount(splits.train.labels)
    assert data.class_counts == dict(zip(splits.classes, counts.tolist(), strict=True))
    weights = data.train_dataloader().sampler.weights.numpy()
    assert weights == pytest.approx(counts[splits.train.labels] ** -0.5)
    plain = ImageDataModule(splits, batch_size=8, grayscale=True, seed=0)
    assert plain.train_dataloader().sampler.weights is None


@pytest.mark.slow
def test_given_mean_and_std_standardise(train: Train) -> None:
    run = train("dataset.normalize=[0.5,0.25]", "dataset.grayscale=false")
    state = checkpoint(run, "best")["state_dict"]
    assert (state["mean"].tolist(), state["std"].tolist()) == ([[[0.5]]], [[[0.25]]])


@pytest.mark.slow
def test_given_means_and_stds_standardise_each_channel(
    train: Train, capsys: pytest.CaptureFixture
) -> None:
    given = "dataset.normalize=[[0,0.5,0.25],[1,0.5,2]]"
    state = checkpoint(train(given, "dataset.grayscale=false", "epochs=1"), "best")["state_dict"]
    assert state["mean"].tolist() == [[[0.0]], [[0.5]], [[0.25]]]
    assert state["std"].tolist() == [[[1.0]], [[0.5]], [[2.0]]]
    with pytest.raises(AssertionError):
        train(given, folder="gray")
    assert (
        "dataset.normalize has the values of 3 channels, but the images have 1: give [mean, std] "
        "or dataset.grayscale=false" in capsys.readouterr().err
    )


@pytest.mark.slow
def test_the_loss_of_the_config_is_trained(train: Train) -> None:
    """The first epoch's loss differs at the same seed; val's stays cross-entropy."""
    plain = train("loss=cross_entropy", folder="plain")
    focal = train("loss=focal", folder="focal")
    same = train("loss=focal", "loss.gamma=0", folder="same")
    losses = [RunDirectory(run).read_history()[0]["train_loss"] for run in (plain, focal, same)]
    assert losses[1] < 0.7 * losses[0]
    assert losses[2] == pytest.approx(losses[0], rel=1e-5)
    val = [RunDirectory(run).read_history()[0]["val_loss"] for run in (plain, same)]
    assert val[1] == pytest.approx(val[0], rel=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_model_learns_the_same(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)  # else other processes
    options = ("model=ffn", "callbacks=[default,ema]", "batch_size=10")  # of 120, 40, 50 images
    compiled = train("compile=true", *options, folder="compiled")
    plain = train("compile=false", *options, folder="plain")
    stored = [
        RunDirectory(run).read_predictions()["test_probabilities"] for run in (compiled, plain)
    ]
    assert stored[0] == pytest.approx(stored[1], abs=1e-4)
    assert checkpoint(compiled, "best")["state_dict"].keys() == (
        checkpoint(plain, "best")["state_dict"].keys()
    )
