"""All kinds of labels, from the data to the probabilities: every 2D set of MedMNIST trains."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import NO_FIGURES, small_set
from hydra import compose
from medmnist.info import INFO
from sklearn.metrics import cohen_kappa_score, mean_absolute_error, recall_score

from dermaexp.core.errors import UserError
from dermaexp.core.tasks import Task
from dermaexp.data.load import load_splits
from dermaexp.launch.config_folder import config_folder
from dermaexp.launch.hydra_internals import initialized
from dermaexp.training.build import build_classifier, build_data

TASKS: dict[str, Task] = {
    "chestmnist": "multi-label",
    "retinamnist": "ordinal",
    "breastmnist": "binary",
    "pneumoniamnist": "binary",
}
FLAGS = [flag for flag in INFO if not flag.endswith("3d")]


def composed(root: Path, flag: str, *overrides: str):
    given = ["dataset=medmnist", f"dataset.flag={flag}", f"dataset.root={root}", "model=ffn"]
    with initialized(config_folder(), None):
        return compose("config", [*given, *overrides])


def built(config):
    splits = load_splits(config.dataset)
    data = build_data(config, splits)
    return data, build_classifier(config, data)


@pytest.mark.parametrize("flag", FLAGS)
def test_every_set_trains(flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its task is known, and a step of the default loss makes it smaller."""
    small_set(flag, tmp_path, monkeypatch)
    torch.manual_seed(0)
    data, classifier = built(composed(tmp_path, flag))
    assert data.splits.task == data.splits.record["task"] == TASKS.get(flag, "multi-class")
    images, labels, _ = next(iter(data.train_dataloader()))
    assert labels.shape == ((60, 14) if flag == "chestmnist" else (60,))
    optimizer = torch.optim.SGD(classifier.parameters(), 0.01)
    before = classifier.loss(classifier(images), labels)
    before.backward()
    optimizer.step()
    assert classifier.loss(classifier(images), labels) < before


@pytest.mark.parametrize("options", [[], ["sampler=balanced", "augment.mixup=0.5"]])
def test_several_labels_take_binary_losses(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with mixed targets, which are shares of labels."""
    small_set("chestmnist", tmp_path, monkeypatch)
    for loss in ("cross_entropy", "weighted", "focal"):
        config = composed(tmp_path, "chestmnist", f"loss={loss}", *options)
        data, classifier = built(config)
        images, labels, _ = next(iter(data.train_dataloader()))
        pixels, goals = classifier.augment(images.float() / 255, labels)
        value = classifier.loss(classifier.net(pixels), goals)
        assert type(classifier.loss).__name__.removeprefix("Weighted").startswith("Binary")
        assert torch.isfinite(value)
    with pytest.raises(UserError, match="several labels: expected loss=cross_entropy, weighted or"):
        built(composed(tmp_path, "chestmnist", "loss=logit_adjusted"))


@pytest.fixture
def run(cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run an experiment on a small set; gives its predictions and numbers of test."""

    def run(flag: str, *overrides: str):
        small_set(flag, tmp_path, monkeypatch)
        given = ["dataset=medmnist", f"dataset.flag={flag}", f"dataset.root={tmp_path}"]
        given += ["model=ffn", "epochs=2", "optimizer.lr=0.01", "hydra.run.dir=run"]
        assert cli(*given, *overrides) == 0
        numbers = json.loads((tmp_path / "run" / "metrics.json").read_text())
        with np.load(tmp_path / "run" / "predictions.npz") as arrays:
            return numbers, arrays["test_targets"], arrays["test_probabilities"]

    return run


@pytest.mark.slow
def test_ordered_classes_have_kappa_and_absolute_error(run) -> None:
    numbers, targets, probabilities = run("retinamnist", *NO_FIGURES)
    predicted, test = probabilities.argmax(axis=1), numbers["test"]
    kappa = cohen_kappa_score(targets, predicted, weights="quadratic", labels=range(5))
    assert numbers["data"]["task"] == "ordinal"
    assert test["quadratic_weighted_kappa"] == pytest.approx(kappa)
    assert test["mean_absolute_error"] == mean_absolute_error(targets, predicted)
    low, high = test["intervals"]["mean_absolute_error"]
    assert low < test["mean_absolute_error"] < high


@pytest.mark.slow
def test_two_classes_have_sensitivity_and_specificity(run, capsys) -> None:
    numbers, targets, probabilities = run("breastmnist", *NO_FIGURES)
    predicted, test = probabilities[:, 1] > 0.5, numbers["test"]
    assert test["sensitivity"] == recall_score(targets, predicted)
    assert test["specificity"] == recall_score(1 - targets, ~predicted)
    assert test["intervals"]["specificity"] == test["per_class"]["malignant"]["intervals"]["recall"]
    assert "specificity" in capsys.readouterr().out
