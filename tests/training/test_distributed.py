"""One run in several processes: every image once, the numbers of one process, one directory."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import NO_FIGURES, processes_in
from omegaconf import OmegaConf
from pytorch_lightning import Trainer

from dermaexp.core import processes
from dermaexp.core.errors import UserError
from dermaexp.data import npz
from dermaexp.data.batches import Batches
from dermaexp.data.datamodule import ImageDataModule
from dermaexp.data.load import PREPARATION
from dermaexp.launch.explain import explain
from dermaexp.models.resnet11 import ResNet11
from dermaexp.runs.directory import RunDirectory
from dermaexp.training import cluster, distributed, worker
from dermaexp.training.classifier import Classifier

Cli = Callable[..., int]
TWO = ("trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu")


@pytest.fixture
def options(data_file: Path) -> list[str]:
    """Of 33 images a batch, and 21 in the last one, two processes get unequal shares."""
    data = ["dataset=npz", f"dataset.path={data_file}", "epochs=3", "batch_size=33"]
    return [*data, *NO_FIGURES]


def read(run: Path, name: str) -> dict:
    return json.loads((run / name).read_text())


@pytest.mark.distributed
@pytest.mark.usefixtures("tables_only")
def test_two_processes_give_the_numbers_of_one(
    cli: Cli, options: list[str], data_file: Path, tmp_path: Path
) -> None:
    """Also in a sweep of two models, and with all that a run leaves."""
    del options[-6:]  # with the figures and the report
    options += ["-m", "checkpoint.test_with=last"]
    threads = torch.get_num_threads()
    assert cli("model=ffn", *options, "trainer=cpu", "hydra.sweep.dir=one") == 0
    assert cli("model=ffn,resnet11", *options, *TWO, "hydra.sweep.dir=two") == 0
    assert torch.get_num_threads() == threads
    (one,), (two,) = ((tmp_path / "one").glob("*/"), (tmp_path / "two").glob("model=ffn*"))
    files = [{str(file.relative_to(run)) for file in run.rglob("*")} for run in (one, two)]
    assert files[0] == files[1] - {"resampled.npz"}, "a comparison of two keeps it"
    alone, shared = (RunDirectory(run).read_predictions() for run in (one, two))
    for name, array in alone.items():
        np.testing.assert_allclose(array, shared[name], atol=1e-5, err_msg=name)
    numbers = [read(run, "metrics.json") for run in (one, two)]
    assert numbers[1]["data"]["samples"] == {"train": 120, "val": 40, "test": 50}
    for key in ("accuracy", "balanced_accuracy", "macro_auroc", "macro_f1", "loss"):
        assert numbers[1]["test"][key] == pytest.approx(numbers[0]["test"][key], abs=1e-3)
    rows = [list(csv.DictReader((run / "history.csv").open())) for run in (one, two)]
    for first, second in zip(*rows, strict=True):
        for key in set(first) - {"seconds"}:
            assert float(second[key]) == pytest.approx(float(first[key]), abs=1e-5), key
    assert read(two, "run.json")["device"]["processes"] == 2
    (normalised,) = (tmp_path / "two").glob("model=resnet11*")
    check_running_statistics(normalised, data_file)


def check_running_statistics(run: Path, data_file: Path) -> None:
    """Each process saw other images: by its own statistics it would predict its part of test."""
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    classifier = Classifier(ResNet11((1, 12, 12), 3), torch.optim.Adam)
    classifier.load_state_dict(state["state_dict"], strict=False)  # no mean and std
    data = ImageDataModule(npz.load(str(data_file)), batch_size=50, grayscale=True, seed=0)
    classifier.eval()
    with torch.inference_mode():
        images, _, _ = data.images["test"][torch.arange(50)]
        again = classifier(images).softmax(dim=1).numpy()
    stored = RunDirectory(run).read_predictions()["test_probabilities"]
    np.testing.assert_allclose(stored, again, atol=1e-5)
    history = RunDirectory(run).read_history()
    assert read(run, "metrics.json")["val"]["loss"] == history[-1]["val_loss"]


def test_the_processes_share_every_batch() -> None:
    """Weighted by `weight`, the processes' mean losses average to the batch's."""
    generator = torch.Generator().manual_seed(0)
    losses = torch.rand(103, generator=generator, dtype=torch.float64)
    shares = [Batches(103, 10, seed=1, process=p, processes=3) for p in range(3)]
    whole = Batches(103, 10, seed=1)
    for number, (batch, *parts) in enumerate(zip(whole, *shares, strict=False)):
        weighted = [
            losses[part].mean() * share.weight(number)
            for part, share in zip(parts, shares, strict=True)
        ]
        if number < len(shares[0]) - 1:
            assert float(sum(weighted) / 3) == pytest.approx(float(losses[batch].mean()), rel=1e-12)


BROKEN = """
import os, signal, sys, torch
FAILURES = {
    "exit": lambda: sys.exit(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "interrupt": lambda: os.kill(os.getppid(), signal.SIGINT),
}
class Net(torch.nn.Linear):
    def __init__(self, image_shape, classes, failure, rank):
        super().__init__(image_shape[1] ** 2, classes)
        self.failure, self.rank = failure, rank
    def forward(self, images):
        if self.training and torch.distributed.is_initialized():
            if torch.distributed.get_rank() == self.rank:
                FAILURES[self.failure]()
        return super().forward(images.flatten(1))
"""


@pytest.mark.distributed
@pytest.mark.parametrize(
    ("failure", "rank", "line"),
    [
        ("exit", 1, "sys.exit(0) was called by the model, a callback or another part of the run"),
        ("kill", 1, "process 1 of this run, counted from 0, was killed by SIGKILL"),
        ("interrupt", 0, "interrupted"),
    ],
)
def test_any_end_of_any_process(
    cli: Cli,
    options: list[str],
    tmp_path: Path,
    capsys,
    monkeypatch: pytest.MonkeyPatch,
    failure: str,
    rank: int,
    line: str,
) -> None:
    """One line with the reason, the state in run.json, and no process is left."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    (tmp_path / "broken.py").write_text(BROKEN)
    net = ["model=ffn", "~model.hidden", "~model.activation", "model._target_=broken.Net"]
    failing = [f"+model.failure={failure}", f"+model.rank={rank}"]
    interrupted = line == "interrupted"
    code = cli(*options, *TWO, *net, *failing, "hydra.run.dir=run")
    assert code == (130 if interrupted else 1)
    errors = capsys.readouterr().err
    assert line in errors
    assert errors.count("\n") == 1
    status = read(tmp_path / "run", "run.json")["status"]
    assert status == ("interrupted" if interrupted else "failed")
    assert not processes_in(tmp_path)


def test_an_error_that_is_its_own_cause_is_explained() -> None:
    error, other = ValueError("first"), ValueError("second")
    error.__cause__, other.__cause__ = other, error
    assert explain(error).startswith("ValueError: second")


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("trainer.strategy=ddp_spawn", "trainer.strategy=ddp_spawn is not supported"),
        ("+trainer.sync_batchnorm=true", "trainer.sync_batchnorm=true works between GPUs only"),
        ("trainer.strategy=fsdp", "trainer.strategy=fsdp: expected auto or ddp"),
        ("trainer.num_nodes=2", "trainer.num_nodes=2 needs a process of each node"),
    ],
)
def test_other_ways_are_refused(
    cli: Cli, options: list[str], capsys, override: str, line: str
) -> None:
    assert cli(*options, *TWO, override, "hydra.run.dir=run") == 1
    assert line in capsys.readouterr().err


@pytest.fixture
def second_of_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process as the second of a run, with a meeting in a file."""
    variables = {"TORCHELASTIC_RUN_ID": "test", "RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}
    for name, value in {**variables, processes.MEETING: str(tmp_path / "meeting")}.items():
        monkeypatch.setenv(name, value)
    distributed.meeting.cache_clear()
    yield
    distributed.meeting.cache_clear()


def test_other_data_in_another_process_are_reported(data_file: Path, second_of_two: None) -> None:
    dataset = dict.fromkeys(PREPARATION)
    dataset |= {"_target_": "dermaexp.data.npz.load", "path": str(data_file)}
    record = {"data": {"fingerprint": "of other images"}}
    distributed.announce(distributed.meeting(), {})
    with pytest.raises(UserError, match="process 1 of this run, counted from 0, loaded other data"):
        worker._take_part({"config": {"dataset": dataset}, "record": record})
    reported = distributed.first_failure(distributed.meeting())
    assert "loaded other data than process 0" in str(reported)
    assert "Traceback" in str(reported.__cause__)


def test_a_lost_connection_is_told_from_an_error_of_the_model(
    second_of_two: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "GRACE", 0.1)
    with (
        pytest.raises(UserError, match="ended without giving a reason"),
        distributed.failures_shared(),
    ):
        raise RuntimeError("[gloo/transport/tcp/pair.cc:561] Connection closed by peer")
    with pytest.raises(RuntimeError, match="shapes"), distributed.failures_shared():
        raise RuntimeError("shapes do not match")
    with pytest.raises(UserError, match="shapes"), distributed.failures_shared():
        raise RuntimeError("gloo: the other one has left")


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"WORLD_SIZE": "3", "TORCHELASTIC_RUN_ID": "test"}, "WORLD_SIZE=3 processes were started"),
        ({"SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "4"}, "SLURM_NTASKS=4 processes were"),
        ({"SLURM_NTASKS": "2"}, "--ntasks-per-node"),
    ],
)
def test_a_config_for_another_number_of_processes_than_there_are(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], line: str
) -> None:
    places = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID")
    for name, value in {**dict.fromkeys(places, "0"), **variables}.items():
        monkeypatch.setenv(name, value)
    given = OmegaConf.create({"strategy": "ddp"})
    with pytest.raises(UserError, match=line):
        plugins = [cluster.environment()]
        trainer = Trainer(
            accelerator="cpu", devices=2, strategy="ddp", logger=False, plugins=plugins
        )
        cluster.check_processes(trainer, given)
