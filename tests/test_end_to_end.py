"""Real processes: Ctrl-C, a full disk, an installed wheel."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from helpers import NO_FIGURES, printed, started

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).resolve().parents[1]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "dermaexp", *map(str, arguments)]


def wait_for(folder: Path, pattern: str, process: BaseProcess) -> Path:
    """The first file that fits, once it is there."""
    deadline = time.monotonic() + 120
    while not (files := list(folder.glob(pattern))):
        assert process.is_alive(), f"ended with {process.exitcode} before {pattern} was there"
        assert time.monotonic() < deadline, f"{pattern} did not come"
        time.sleep(0.05)
    return files[0]


@pytest.mark.parametrize("sweep", [False, True], ids=["run", "sweep"])
def test_ctrl_c_keeps_the_last_whole_epoch(sweep: bool, data_file: Path, tmp_path: Path) -> None:
    options = ["dataset=npz", f"dataset.path={data_file}", "epochs=100000", "trainer=cpu"]
    folder = ["-m", "hydra.sweep.dir=s", "seed=0,1"] if sweep else ["hydra.run.dir=r"]
    process = started(tmp_path, *folder, *options, *NO_FIGURES)
    try:
        _check_interruption(process, sweep, tmp_path)
    finally:
        process.kill()


def _check_interruption(process: BaseProcess, sweep: bool, tmp_path: Path) -> None:
    pattern = "s/seed=0-*/checkpoints/last.ckpt" if sweep else "r/checkpoints/last.ckpt"
    run = wait_for(tmp_path, pattern, process).parents[1]
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGINT)
    process.join(timeout=60)
    output, errors = (file.read_text() for file in printed(tmp_path))
    assert process.exitcode == 130, errors
    assert errors == "error: interrupted\n"
    assert "Traceback" not in output
    resumed = shlex.quote(f"resume={tmp_path / 's' if sweep else run}")
    assert output.endswith(f"to resume: python -m dermaexp {resumed}\n")
    record = json.loads((run / "run.json").read_text())
    assert (record["status"], record["error"]) == ("interrupted", None)
    rows = (run / "history.csv").read_text().splitlines()
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["epoch"] + 1 in (len(rows) - 1, len(rows) - 2), "the last whole epoch"
    assert not (run / "metrics.json").exists()
    assert not [file for file in run.rglob("*") if file.name.endswith(".tmp")]
    assert not list(tmp_path.glob("s/seed=1*")), "a sweep stops as a whole"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB: room for a run's records and one checkpoint, not for two."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount a small file system here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_reported_in_one_line(
    small_disk: Path, cli: Callable[..., int], data_file: Path, capsys
) -> None:
    options = ["model=ffn", "dataset=npz", f"dataset.path={data_file}", "callbacks.montage=null"]
    options.append("model.hidden=[400]")  # 700 KB a checkpoint, with the state of Adam
    assert cli(*options, f"hydra.run.dir={small_disk / 'run'}") == 1
    errors = capsys.readouterr().err
    assert errors.startswith("error: the disk is full: ")
    assert "free some space and start again" in errors
    assert errors.count("\n") == 1, errors
    run = small_disk / "run"
    record = json.loads((run / "run.json").read_text())
    assert record["status"] in ("failed", "running"), "whole, even where no byte was left"
    assert not (run / "metrics.json").exists()
    (checkpoint,) = (run / "checkpoints").iterdir()
    assert torch.load(checkpoint, weights_only=True)["epoch"] == 0


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pip would install, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*build, "--directory", str(folder)], cwd=PROJECT, check=True)
    (file,) = folder.glob("dermaexp-*.whl")
    site = folder / "site"
    with zipfile.ZipFile(file) as archive:
        archive.extractall(site)
    return site


def test_the_wheel_carries_all_configs(wheel: Path) -> None:
    inside = {
        str(file.relative_to(wheel / "dermaexp" / "conf")): file.read_bytes()
        for file in (wheel / "dermaexp" / "conf").rglob("*.yaml")
    }
    checkout = {
        str(file.relative_to(PROJECT / "conf")): file.read_bytes()
        for file in (PROJECT / "conf").rglob("*.yaml")
    }
    assert inside == checkout


def test_the_wheel_carries_all_modules_and_py_typed(wheel: Path) -> None:
    """Hydra looks for sweepers in hydra_plugins, type checkers look for py.typed."""
    packages = {"dermaexp", "hydra_plugins"}
    assert {item.name for item in wheel.iterdir() if item.suffix != ".dist-info"} == packages
    for package in packages:
        inside = {file.relative_to(wheel) for file in (wheel / package).rglob("*.py")}
        assert inside == {file.relative_to(PROJECT) for file in (PROJECT / package).rglob("*.py")}
    assert (wheel / "dermaexp" / "py.typed").is_file()


def test_the_wheel_runs_in_any_folder_with_the_users_groups(wheel: Path, tmp_path: Path) -> None:
    own = tmp_path / "my_conf" / "model"
    own.mkdir(parents=True)
    (own / "tiny.yaml").write_text(
        "# A tiny FFN: python -m dermaexp --config-dir my_conf model=tiny\n"
        "_target_: dermaexp.models.ffn.FFN\nhidden: [4]\nactivation: tanh\n"
    )
    unused = tmp_path / "unused"
    unused.mkdir()
    for package in ("pandas", "seaborn", "sympy", "torchvision"):  # to import them takes seconds
        (unused / f"{package}.py").write_text(f"raise RuntimeError('{package} was imported')")
    answer = subprocess.run(
        command("--config-dir", "my_conf", "model=tiny", "dataset=synthetic", "trainer=debug"),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{wheel}:{unused}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == "", "nothing that a user can do nothing about"
    (run,) = tmp_path.glob("outputs/*/*_tiny")
    numbers = json.loads((run / "metrics.json").read_text())
    assert numbers["model"] == {"name": "tiny", "parameters": 784 * 4 + 4 + 4 * 7 + 7}
    assert json.loads((run / "run.json").read_text())["git_commit"] is None
    assert str(run) in answer.stdout.replace("\n", "")


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "a reader that leaves"])
def test_a_run_goes_on_when_nobody_reads(
    closed: bool, cli: Callable[..., int], data_file: Path, tmp_path: Path, monkeypatch
) -> None:
    options = ["model=ffn", "dataset=npz", f"dataset.path={data_file}", "epochs=5", *NO_FIGURES]
    options.append("hydra.run.dir=r")
    if closed:
        monkeypatch.setattr(sys, "stdout", None)  # as Python does with `>&-`
        assert cli(*options) == 0
    else:
        line = f"{shlex.join(command(*options))} | head -1"
        answer = subprocess.run(
            line, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert answer.stderr == ""
    assert json.loads((tmp_path / "r" / "run.json").read_text())["status"] == "finished"
    assert len((tmp_path / "r" / "history.csv").read_text().splitlines()) == 6


def test_make_refuses_an_old_python(tmp_path: Path) -> None:
    if not shutil.which("make"):
        pytest.skip("no make here")
    old = tmp_path / "python3.10"
    old.write_text(
        f"#!/bin/sh\nexec {sys.executable} -c "
        "'import sys; sys.version_info = (3, 10); sys.version = \"3.10.1 (x)\"; exec(sys.argv[1])' "
        '"$2"\n'
    )
    old.chmod(0o755)
    shutil.copy(PROJECT / "Makefile", tmp_path)
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    answer = subprocess.run(
        ["make", "train", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True
    )
    assert answer.returncode != 0
    assert "dermaexp needs Python >= 3.11; this is 3.10.1" in answer.stderr
    assert not (tmp_path / ".venv").exists()
