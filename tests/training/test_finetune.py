"""Fine-tuning: frozen parts stay bit-equal, learning rates keep their ratios, resume is exact."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import NO_FIGURES, Killed, kill_at_write, numbers, small_arrays

import dermaexp
from dermaexp.core.errors import UserError
from dermaexp.models.cnn import CNN
from dermaexp.models.resnet11 import ResNet11
from dermaexp.runs.directory import RunDirectory
from dermaexp.training import schedules
from dermaexp.training.classifier import Classifier
from dermaexp.training.finetune import Finetune, Freeze, checked_head, scale_learning_rates

Cli = Callable[..., int]
OPTIONS = ["dataset=npz", "dataset.path=small.npz", "trainer=cpu", "model=resnet11"]
OPTIONS += ["model.width=2", "batch_size=32", *NO_FIGURES]


def test_groups_have_their_learning_rate_by_depth() -> None:
    net = CNN((1, 12, 12), 3, channels=[2, 4])  # two convolutions and two linear layers
    others = [torch.nn.Parameter(torch.zeros(1))]
    head = checked_head(net, 3)
    groups = Finetune(body_lr=0.5, decay=0.25).groups(net, head, others)
    assert [group["lr_factor"] for group in groups] == [1.0, 0.125, 0.03125, 0.0078125]
    shapes = [[tuple(one.shape) for one in group["params"]] for group in groups]
    assert shapes[0] == [(3, 128), (3,), (1,)]
    assert shapes[3] == [(2, 1, 3, 3), (2,)]
    optimizer = torch.optim.SGD(groups, lr=2.0)
    scale_learning_rates(optimizer)
    assert [group["lr"] for group in optimizer.param_groups] == [2.0, 0.25, 0.0625, 0.015625]
    alike = Finetune(frozen_epochs=3, body_lr=0.1).groups(net, head)
    assert [len(group["params"]) for group in alike] == [2, 6]
    (alone,) = Finetune(frozen_epochs=None).groups(net, head)
    assert len(alone["params"]) == 2


SCHEDULES = {
    "cosine": partial(schedules.cosine, min_factor=0.1),
    "multistep": partial(schedules.multistep, milestones=[0.5, 0.75], gamma=0.1),
    "onecycle": partial(schedules.onecycle, warmup=0.3),
}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("optimizer", ["Adam", "AdamW", "SGD"])
def test_schedules_keep_the_ratios_of_the_groups(name: str, optimizer: str) -> None:
    steps = 20
    make = getattr(torch.optim, optimizer)
    options = {"momentum": 0.9} if optimizer == "SGD" else {}
    layers = [torch.nn.Parameter(torch.zeros(2)) for _ in range(3)]
    groups = [{"params": [one], "lr_factor": 0.5**i} for i, one in enumerate(layers)]
    several, single = make(groups, lr=0.1, **options), make([layers[0]], lr=0.1, **options)
    scale_learning_rates(several)
    schedule, reference = SCHEDULES[name](several, steps), SCHEDULES[name](single, steps)
    for _ in range(steps):
        rates = [group["lr"] for group in several.param_groups]
        assert rates[0] == pytest.approx(single.param_groups[0]["lr"], rel=1e-9)
        assert rates == pytest.approx([rates[0], rates[0] / 2, rates[0] / 4], rel=1e-9)
        for each in (several, single, schedule, reference)[: 4 if _ < steps - 1 else 2]:
            each.step()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data and the weights of a model with another last layer."""
    np.savez(tmp_path / "small.npz", **small_arrays())
    torch.manual_seed(3)
    net = ResNet11((1, 12, 12), 5, width=2)
    net(torch.rand(8, 1, 12, 12))  # for running statistics
    torch.save(net.state_dict(), tmp_path / "w.pt")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def changed(run: Path) -> set[str]:
    """The tensors of a run's last checkpoint that differ from those of w.pt."""
    before = torch.load("w.pt", weights_only=True)
    after = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return {name for name in before if not torch.equal(before[name], after[f"net.{name}"])}


HEAD = {"head.weight", "head.bias"}


@pytest.mark.parametrize("processes", [1, 2])
def test_a_frozen_body_gets_no_gradients_and_what_the_model_froze_stays(processes: int) -> None:
    """DDP must see in its first epoch what is trained later: there gradients are dropped."""
    net = ResNet11((1, 8, 8), 3, width=2)
    net.maps[0][0].weight.requires_grad_(False)
    classifier = Classifier(net, torch.optim.Adam, head="head")
    freeze = Freeze(Finetune(frozen_epochs=1))
    freeze.setup(SimpleNamespace(), classifier, "fit")
    for epoch in (0, 1):
        trainer = SimpleNamespace(world_size=processes, current_epoch=epoch)
        freeze.on_train_epoch_start(trainer, classifier)
        assert net.maps[0][1].training == (epoch == 1), "batch normalisation"
        assert net.maps[1][0].weight.requires_grad == (epoch == 1 or processes == 2)
        classifier.zero_grad()
        net(torch.rand(4, 1, 8, 8)).square().sum().backward()
        freeze.on_after_backward(trainer, classifier)
        without = {name for name, one in net.named_parameters() if one.grad is None}
        body = {name for name, _ in net.named_parameters() if not name.startswith("head.")}
        assert without == (body if epoch == 0 else {"maps.0.0.weight"})


@pytest.mark.slow
def test_a_linear_probe_changes_the_last_layer_alone(folder: Path) -> None:
    options = ["model.weights=w.pt", "finetune=linear_probe", "augment=light", "epochs=2"]
    dermaexp.run([*OPTIONS, *options, "optimizer=adamw", "hydra.run.dir=run"])
    assert changed(folder / "run") == HEAD, "neither weights nor running statistics"
    assert RunDirectory(folder / "run").read_history()[1]["train_loss"] > 0


@pytest.mark.slow
def test_the_body_is_trained_from_its_epoch_on_and_a_resumed_run_equals(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*OPTIONS, "model.weights=w.pt", "finetune=head_then_all", "finetune.frozen_epochs=2"]
    options += ["epochs=3", "scheduler=onecycle", "optimizer.lr=0.01"]
    dermaexp.run([*options, "hydra.run.dir=whole"])
    everything = set(torch.load("w.pt", weights_only=True))
    assert changed(folder / "whole") == everything
    with monkeypatch.context() as patch:
        kill_at_write(9, patch)
        with pytest.raises(Killed):
            dermaexp.run([*options, "hydra.run.dir=killed"])
    assert len(RunDirectory(folder / "killed").read_history()) == 2
    assert changed(folder / "killed") == HEAD
    (folder / "w.pt").unlink()
    dermaexp.run(["resume=killed"])
    assert numbers(folder / "killed") == numbers(folder / "whole")


@pytest.mark.slow
def test_a_run_from_random_weights_is_warned_of(
    folder: Path, cli: Cli, capsys: pytest.CaptureFixture
) -> None:
    options = ["finetune=layerwise", "epochs=1", "hydra.run.dir=run"]
    assert cli(*OPTIONS, *options) == 0
    assert "finetune=layerwise spares weights that were trained before, but" in (
        capsys.readouterr().err
    )
    groups = torch.load(folder / "run/checkpoints/last.ckpt", weights_only=True)[
        "optimizer_states"
    ][0]["param_groups"]
    factors = [0.75**distance for distance in range(8)]
    assert [group["lr"] for group in groups] == pytest.approx([1e-3 * one for one in factors])


def test_what_fine_tuning_refuses() -> None:
    with pytest.raises(UserError, match=r"finetune\.decay=0: expected a number above 0, at most 1"):
        Finetune(decay=0)
    with pytest.raises(UserError, match="finetune needs a last layer with 4 outputs, one for each"):
        checked_head(CNN((1, 12, 12), 3), 4)
