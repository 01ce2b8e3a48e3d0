"""One run whose processes torchrun started, on one node and on two."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import NO_FIGURES, processes_in

from dermaexp.runs.directory import RunDirectory

Cli = Callable[..., int]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
DDP = ["trainer=ddp", "trainer.accelerator=cpu"]

pytestmark = pytest.mark.distributed


@pytest.fixture
def options(arrays: dict[str, np.ndarray], tmp_path: Path) -> list[str]:
    """Of 13 test images and 33 a batch, two processes get unequal shares."""
    arrays |= {f"test_{kind}": arrays[f"test_{kind}"][:13] for kind in ("images", "labels")}
    np.savez(tmp_path / "data.npz", **arrays)
    data = ["dataset=npz", "dataset.path=data.npz", "epochs=3", "batch_size=33"]
    return ["model=ffn", *data, *NO_FIGURES]


def started(folder: Path, *arguments: str, **variables: str) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", **variables}
    return subprocess.Popen(
        [*TORCHRUN, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_of(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())


def assert_equal_predictions(one: Path, other: Path) -> None:
    predictions = RunDirectory(other).read_predictions()
    for name, array in RunDirectory(one).read_predictions().items():
        np.testing.assert_allclose(predictions[name], array, atol=1e-5, err_msg=name)


def test_two_nodes_give_the_numbers_of_one_process(
    cli: Cli, options: list[str], tmp_path: Path
) -> None:
    """Their clocks show other days, so that each would name another folder."""
    assert cli(*options, "trainer=cpu", "hydra.run.dir=one") == 0
    # A file keeps the agents' meeting: no port that another program could take meanwhile.
    agents = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", "--rdzv-id=test"]
    agents += [f"--rdzv-endpoint={tmp_path / 'agents'}", "--rdzv-conf=store_type=file"]
    nodes = ["trainer.devices=1", "trainer.num_nodes=2"]
    both = [
        started(tmp_path, *agents, "-m", "dermaexp", *options, *DDP, *nodes, TZ=zone)
        for zone in ("UTC+12", "UTC-12")
    ]
    outputs = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert sum(output.count("run directory:") for output, _ in outputs) == 1
    (two,) = (tmp_path / "outputs").glob("*/*")
    assert_equal_predictions(tmp_path / "one", two)
    assert run_of(two)["device"]["processes"] == 2
    metrics = json.loads((two / "metrics.json").read_text())
    assert metrics["data"]["samples"] == {"train": 120, "val": 40, "test": 13}


BROKEN = """
import os, signal, time, torch
class Net(torch.nn.Linear):
    def __init__(self, image_shape, classes, failure):
        super().__init__(image_shape[1] ** 2, classes)
        self.failure, self.batches = failure, 0
    def forward(self, images):
        self.batches += self.training
        if self.batches > 5 and torch.distributed.is_initialized():  # in the second epoch
            rank = torch.distributed.get_rank()
            if self.failure == "raise" and rank == 1:
                raise ZeroDivisionError("in process 1")
            if self.failure == "wait" and not os.path.exists("waiting"):
                open("waiting", "w").close()
                time.sleep(60)
        return super().forward(images.flatten(1))
"""


def of_broken_net(folder: Path, failure: str, *options: str) -> subprocess.Popen:
    (folder / "broken.py").write_text(BROKEN)
    net = ["~model.hidden", "~model.activation", "model._target_=broken.Net"]
    return started(
        folder,
        "--standalone",
        "--nproc-per-node=2",
        *("-m", "dermaexp", *options, *DDP, "trainer.devices=2", *net),
        f"+model.failure={failure}",
        "hydra.run.dir=run",
        PYTHONPATH=f"{folder}:{os.environ.get('PYTHONPATH', '')}",
    )


def test_an_exception_of_another_process_is_the_runs_one_line(
    options: list[str], tmp_path: Path
) -> None:
    agent = of_broken_net(tmp_path, "raise", *options)
    _, errors = agent.communicate(timeout=60)
    assert agent.returncode == 1
    (line,) = (line for line in errors.splitlines() if line.startswith("error: "))
    assert "ZeroDivisionError: in process 1" in line
    assert run_of(tmp_path / "run")["status"] == "failed"
    assert "in forward" in (tmp_path / "run" / "dermaexp.log").read_text(), "its traceback"
    assert not processes_in(tmp_path)


def test_a_stopped_run_is_resumed_by_another_number_of_processes(
    cli: Cli, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = of_broken_net(tmp_path, "wait", *options)
    while not (tmp_path / "waiting").exists():
        assert agent.poll() is None, agent.communicate()
        time.sleep(0.05)
    agent.send_signal(signal.SIGTERM)
    _, errors = agent.communicate(timeout=60)
    assert [line for line in errors.splitlines() if line.startswith("error: ")] == [
        "error: interrupted"
    ]
    assert run_of(tmp_path / "run")["status"] == "interrupted"
    assert not processes_in(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert cli("resume=run", "trainer.devices=1") == 0
    record = run_of(tmp_path / "run")
    assert record["resumed"][0]["earlier_device"]["processes"] == 2
    assert "processes" not in record["device"]
    net = ["~model.hidden", "~model.activation", "model._target_=broken.Net", "+model.failure=no"]
    assert cli(*options, *DDP, "trainer.devices=1", *net, "hydra.run.dir=one") == 0
    assert_equal_predictions(tmp_path / "one", tmp_path / "run")
