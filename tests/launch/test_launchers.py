"""Jobs side by side: the launchers for real, GPUs dealt out, sweeps that do not collide."""

from __future__ import annotations

import csv
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import NO_FIGURES, started

from dermaexp.core.errors import INTERRUPTED
from dermaexp.core.overrides import command
from dermaexp.data import load
from dermaexp.launch import forked, gpus, sweep
from dermaexp.launch.explain import explain
from dermaexp.runs.directory import RunDirectory

Cli = Callable[..., int]


def runs(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "runs.csv").open()))


@pytest.mark.distributed
@pytest.mark.usefixtures("tables_only")
@pytest.mark.parametrize(
    ("launcher", "sizes", "plugin", "threads"),
    [
        (
            ["joblib", "hydra.launcher.n_jobs=2"],
            "32,0,16",
            "hydra_joblib_launcher",
            os.cpu_count() // 2 or 1,
        ),
        (["submitit_local"], "32,0", "hydra_submitit_launcher", None),
        (["ray"], "32,0,16", "hydra_ray_launcher", 1),
    ],
    ids=["joblib", "submitit_local", "ray"],
)
def test_jobs_side_by_side_give_the_numbers_of_jobs_in_a_row(
    cli: Cli,
    data_file: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    launcher: list[str],
    sizes: str,
    plugin: str,
    threads: int | None,
) -> None:
    pytest.importorskip(f"hydra_plugins.{plugin}", reason=f"{plugin} is not installed")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    options = ["-m", f"batch_size={sizes}", "model=ffn", "epochs=2", "trainer=cpu", *NO_FIGURES]
    options += ["dataset=npz", f"dataset.path={data_file}"]
    assert cli(*options, "hydra.sweep.dir=row") == 1
    capfd.readouterr()
    assert cli(f"hydra/launcher={launcher[0]}", *launcher[1:], *options, "name=side") == 1
    output = capfd.readouterr()
    assert "failed: batch_size=0: expected a whole number from 1" in output.err
    assert "epoch 1/2" not in output.out, "what several jobs say would be mixed"
    side = tmp_path / "multirun" / "side"
    states = {row["folder"]: row["status"] for row in runs(side)}
    assert sorted(states.values()) == ["failed", *["finished"] * sizes.count(",")]
    for name, status in states.items():
        if status == "finished":
            record = RunDirectory(side / name).read_run()
            assert threads in (None, record["device"]["threads"]), "shared out"
            predictions = RunDirectory(side / name).read_predictions()
            expected = RunDirectory(tmp_path / "row" / name).read_predictions()
            for key, array in expected.items():
                np.testing.assert_allclose(predictions[key], array, atol=1e-5)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Slurm's commands for this machine: sbatch starts its jobs at once, srun a job's tasks."""
    programs = {
        "sbatch": """
            script="${@: -1}"
            cp "$script" "$here/submitted.sh"
            option() { grep -oP "(?<=--$1=)\\S+" "$script" || echo "$2"; }
            export SLURM_NNODES=$(option nodes 1) SLURM_NTASKS_PER_NODE=$(option ntasks-per-node 1)
            export SLURM_NTASKS=$((SLURM_NNODES * SLURM_NTASKS_PER_NODE))
            export SLURM_JOB_NODELIST=localhost SLURM_NODELIST=localhost
            export SLURM_JOB_NUM_NODES=$SLURM_NNODES SLURM_JOB_ID=7
            run() {
              touch "$here/queued_$1"
              while rm "$here/queued_$1"; do bash "$script"; done
            }
            tasks=$(option array | cut -d% -f1 | tr - ' ')
            for task in ${tasks:+$(seq $tasks)}; do
              SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=$task run 7_$task >"$here/$task.log" 2>&1 &
            done
            if [[ -z "$tasks" ]]; then run 7 >"$here/0.log" 2>&1 & fi
            echo "Submitted batch job 7" """,
        "srun": """
            while [[ "$1" == -* ]]; do [[ "$1" == --output ]] && shift; shift; done
            for number in $(seq 0 $((SLURM_NTASKS - 1))); do
              SLURM_PROCID=$number SLURM_LOCALID=$((number % SLURM_NTASKS_PER_NODE)) \\
              SLURM_NODEID=$((number / SLURM_NTASKS_PER_NODE)) "$@" &
            done
            wait""",
        "scontrol": """
            [[ "$1" == requeue ]] && touch "$here/queued_$2" """,
        "sacct": """
            printf 'JobID|State|NodeList\\n'
            printf '7%s|RUNNING|localhost\\n' '' _0 _1 _2""",
    }
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, body in programs.items():
        (folder / name).write_text(f'#!/bin/bash\nhere=$(dirname "$0")\n{body}\n')
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.mark.distributed
@pytest.mark.usefixtures("tables_only")
def test_slurm_gets_what_the_config_asks_for(
    cli: Cli, data_file: Path, tmp_path: Path, slurm: Path, capsys
) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    options = ["batch_size=32,0", "model=ffn", "epochs=2", "trainer=cpu", *NO_FIGURES]
    options += ["dataset=npz", f"dataset.path={data_file}", "name=s"]
    launcher = ["hydra/launcher=submitit_slurm", "hydra.launcher.partition=gpu"]
    assert cli("-m", *launcher, *options) == 1
    script = (slurm / "submitted.sh").read_text()
    for line in ("partition=gpu", "gpus-per-node=1", "cpus-per-task=4", "time=240"):
        assert f"#SBATCH --{line}\n" in script
    states = {row["folder"][:12]: row["status"] for row in runs(tmp_path / "multirun" / "s")}
    assert states == {"batch_size=3": "finished", "batch_size=0": "failed"}
    commands = {
        json.loads(file.read_text())["command"]
        for file in (tmp_path / "multirun" / "s").glob("*/run.json")
    }
    assert commands == {command("-m", *launcher, *options)}, "the sweep's, not submitit's"
    output = capsys.readouterr()
    assert "failed: batch_size=0: expected a whole number from 1" in output.err, (
        "reported meanwhile"
    )
    assert ": finished\n" in output.out


QUEUED_AGAIN = """
import os, signal, torch
class Net(torch.nn.Linear):
    def __init__(self, image_shape, classes):
        super().__init__(image_shape[1] ** 2, classes)
        self.batches = 0
    def forward(self, images):
        self.batches += self.training
        if self.batches == 6 and os.environ.get("SLURM_PROCID") == "0":  # in the second epoch
            if not os.path.exists("queued_again"):
                open("queued_again", "w").close()
                os.kill(os.getpid(), signal.SIGUSR2)  # as Slurm before its time limit
        return super().forward(images.flatten(1))
"""


@pytest.mark.distributed
@pytest.mark.usefixtures("tables_only")
def test_a_job_of_two_nodes_resumes_when_slurm_queues_it_again(
    cli: Cli, data_file: Path, tmp_path: Path, slurm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    (tmp_path / "again.py").write_text(QUEUED_AGAIN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    options = ["model=ffn", "~model.hidden", "~model.activation", "model._target_=again.Net"]
    options += ["dataset=npz", f"dataset.path={data_file}", "epochs=3", "batch_size=33"]
    options += NO_FIGURES
    assert cli(*options, "trainer=cpu", "hydra.run.dir=one") == 0
    launcher = ["hydra/launcher=submitit_slurm", "hydra.launcher.nodes=2"]
    launcher += ["hydra.launcher.tasks_per_node=1", "hydra.launcher.timeout_min=60"]
    nodes = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=1", "trainer.num_nodes=2"]
    assert cli("-m", *launcher, *options, *nodes, "name=two") == 0, (slurm / "0.log").read_text()
    (row,) = runs(tmp_path / "multirun" / "two")
    two = RunDirectory(tmp_path / "multirun" / "two" / row["folder"])
    record = two.read_run()
    assert record["status"] == "finished"
    assert len(record["resumed"]) == 1
    assert json.loads((two.path / "run.json").read_text())["device"]["processes"] == 2
    predictions = two.read_predictions()
    for key, array in RunDirectory(tmp_path / "one").read_predictions().items():
        np.testing.assert_allclose(predictions[key], array, atol=1e-5)


def test_a_killed_worker_of_joblib_is_one_line() -> None:
    loky = pytest.importorskip("joblib.externals.loky.process_executor")
    for killed in (loky.TerminatedWorkerError, BrokenProcessPool):
        line = explain(killed("A worker process managed by the executor was"))
        assert "killed, perhaps for want of memory: the same command resumes the sweep" in line


def test_what_the_forked_workers_use_of_the_plugin() -> None:
    """hydra-joblib-launcher 1.2 has it, and joblib 1.3 to 1.6."""
    core = pytest.importorskip("hydra_plugins.hydra_joblib_launcher._core")
    assert list(signature(core.execute_job).parameters) == [
        "idx",
        "overrides",
        "hydra_context",
        "config",
        "task_function",
        "singleton_state",
    ]
    loky = pytest.importorskip("joblib.externals.loky")
    reduction = pytest.importorskip("joblib.externals.loky.backend.reduction")
    assert "env" in signature(loky.get_reusable_executor).parameters
    assert pickle.loads(reduction.dumps(lambda: 7))() == 7
    assert [forked.workers(*pair) for pair in ((2, 5), (4, 3), (1, 2))] == [2, 3, 1]


def test_a_plugin_that_is_not_installed(cli: Cli, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(sweep, "find_spec", lambda name: None)
    assert cli("-m", "hydra/launcher=submitit_slurm", "seed=0,1") == 1
    assert capsys.readouterr().err == (
        "error: hydra/launcher=submitit_slurm needs a plugin that is not installed: pip install "
        "'dermaexp[launchers]'\n"
    )
    assert not (tmp_path / "multirun").exists()


@pytest.mark.distributed
def test_each_process_takes_a_gpu_of_its_own(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(gpus, "_taken", {})
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    other = (
        "import sys\n"
        "from types import SimpleNamespace as Of\n"
        "sys.modules['torch'] = Of(cuda=Of(device_count=lambda: 2))\n"  # no wait for the whole
        "from dermaexp.launch.gpus import own_device\n"
        "print(own_device('auto', 1, int(sys.argv[1])))\n"
    )

    def in_another_process(job: int) -> str:
        answer = subprocess.run(
            [sys.executable, "-c", other, str(job)],
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        return answer.stdout.strip()

    assert gpus.own_device("auto", 1, 0) == [0]
    assert gpus.own_device("gpu", 1, 1) == [0], "a worker keeps its GPU"
    assert in_another_process(2) == "[1]"
    assert in_another_process(3) == "[1]", "free again once that process has ended"
    assert gpus._take("1")
    assert in_another_process(7) == "[1]", "7 % 2: more processes than GPUs share them"
    folder = tmp_path / "dermaexp" / "locks"
    assert len(list(folder.iterdir())) == 2
    monkeypatch.setattr(gpus, "_taken", {})
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    assert gpus.own_device("auto", 1, 3) == [1], "a folder of another user is not trusted"


def test_what_is_no_choice_of_one_gpu_is_left_alone(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert gpus.own_device("cpu", 1, 0) == 1
    assert gpus.own_device("auto", 2, 0) == 2
    assert gpus.own_device("gpu", [1], 0) == [1]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert gpus.own_device("auto", 1, 3) == 1


@pytest.mark.distributed
@pytest.mark.usefixtures("tables_only")
def test_two_sweeps_at_once_share_the_cache_but_no_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    load._kept.clear()
    sweep = ["-m", "seed=0,1", "model=ffn", "dataset=synthetic", "trainer=debug", *NO_FIGURES]
    sweep.append("hydra.sweep.dir=${new_folder:sweep}")
    both = [started(tmp_path, *sweep) for _ in range(2)]
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    sweeps = [tmp_path / "sweep", tmp_path / "sweep-2"]
    results = [
        {
            file.parent.name: {
                k: v for k, v in json.loads(file.read_text()).items() if k != "seconds"
            }
            for file in folder.glob("*/metrics.json")
        }
        for folder in sweeps
    ]
    assert len(results[0]) == 2
    assert results[0] == results[1]
    (cached,) = (tmp_path / "empty" / "dermaexp").iterdir()
    assert cached.suffix == ".npz"


def test_ctrl_c_in_a_parallel_sweep_names_the_command_once(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """The jobs are other processes, which do not know when the sweep ends."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(forked, "launch", interrupted)
    monkeypatch.setattr("hydra_plugins.hydra_joblib_launcher._core.launch", interrupted)
    sweep = ["-m", "hydra/launcher=joblib", "model=ffn,cnn", "hydra.sweep.dir=s"]
    assert cli(*sweep) == INTERRUPTED
    output = capsys.readouterr()
    assert output.out == f"to resume: python -m dermaexp resume={tmp_path / 's'}\n"
    assert output.err == "error: interrupted\n"
