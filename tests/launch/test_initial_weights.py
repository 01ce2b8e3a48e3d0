"""Runs that start from a file or another run: the same weights, an identity, and a resumption."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import NO_FIGURES, Killed, kill_at_write, numbers, overridden, small_arrays
from omegaconf import OmegaConf

import dermaexp
from dermaexp.launch.identity import effective, identity
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.identity import config_digest

Cli = Callable[..., int]
OPTIONS = ["dataset=npz", "dataset.path=small.npz", "dataset.grayscale=false", "trainer=cpu"]
OPTIONS += ["model=ffn", "model.hidden=[4]", "epochs=1", "batch_size=32", *NO_FIGURES]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, and a run of a small net on standardised colour images."""
    folder = tmp_path_factory.mktemp("trained")
    np.savez(folder / "small.npz", **small_arrays())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        dermaexp.run([*OPTIONS, "dataset.normalize=true", "hydra.run.dir=first"])
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = Path(shutil.copytree(trained, tmp_path / "work"))
    monkeypatch.chdir(copy)
    return copy


def state(run: Path) -> dict:
    file = run / "checkpoints" / "best.ckpt"
    return torch.load(file, weights_only=True)["state_dict"]


@pytest.mark.slow
@pytest.mark.parametrize("given", ["init_from=first", "weights=first/checkpoints/best.ckpt"])
def test_a_run_starts_from_another(given: str, folder: Path, capsys: pytest.CaptureFixture) -> None:
    dermaexp.run([*OPTIONS, f"model.{given}", "optimizer.lr=1e-30", "hydra.run.dir=second"])
    first, second = state(folder / "first"), state(folder / "second")
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert name.startswith("train_") or torch.equal(value, second[name]), name
    assert len(first["mean"]) == 3 and first["mean"].any(), "its images are standardised alike"
    digest = hashlib.sha256((folder / "first/checkpoints/best.ckpt").read_bytes()).hexdigest()
    record = RunDirectory(folder / "second").read_run()
    assert record["initial_weights"] == {"file": "first/checkpoints/best.ckpt", "sha256": digest}
    printed = capsys.readouterr().out
    assert "weights of first/checkpoints/best.ckpt: 4 of the model's 4 tensors\n" in printed
    assert "images in [0, 1] are standardised by mean 0." in printed


@pytest.mark.slow
def test_a_run_is_resumed_without_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "w.ckpt"
    shutil.copy(folder / "first/checkpoints/best.ckpt", file)
    options = overridden(OPTIONS, "epochs=3", "model.weights=w.ckpt")
    dermaexp.run([*options, "hydra.run.dir=whole"])
    with monkeypatch.context() as patch:
        kill_at_write(9, patch)
        with pytest.raises(Killed):
            dermaexp.run([*options, "hydra.run.dir=killed"])
    file.unlink()
    assert len(RunDirectory(folder / "killed").read_history()) in (1, 2)
    dermaexp.run(["resume=killed"])
    assert numbers(folder / "killed") == numbers(folder / "whole")
    records = [RunDirectory(folder / name).read_run() for name in ("whole", "killed")]
    assert records[0]["config_digest"] == records[1]["config_digest"]
    assert records[0]["initial_weights"] == records[1]["initial_weights"]


@pytest.mark.slow
def test_a_sweep_finds_its_jobs_without_the_file(
    folder: Path, tables_only: None, capsys: pytest.CaptureFixture
) -> None:
    shutil.copy(folder / "first/checkpoints/best.ckpt", "w.ckpt")
    sweep = [*OPTIONS, "model.weights=w.ckpt", "seed=0", "hydra.sweep.dir=sweep"]
    dermaexp.sweep(sweep)
    (job,) = {file.parent for file in (folder / "sweep").glob("*/run.json")}
    (folder / "w.ckpt").unlink()
    dermaexp.sweep(sweep)
    assert "finished before: not run again" in capsys.readouterr().out
    shutil.copy(folder / "small.npz", "w.ckpt")
    dermaexp.sweep(sweep)
    assert "w.ckpt cannot be loaded as tensors alone" in capsys.readouterr().err
    jobs = {file.parent for file in (folder / "sweep").glob("*/run.json")}
    assert len(jobs) == 2 and job in jobs, "another content is another job"


def test_the_identity_follows_the_content_of_the_file() -> None:
    def digest(path: str, content: str) -> str:
        values = {"model": {"_target_": "x", "weights": path}, "seed": 0}
        return config_digest(identity(values, None, {"file": path, "sha256": content}))

    assert digest("a.pt", "1") == digest("b.pt", "1") != digest("a.pt", "2")


@pytest.mark.parametrize(
    ("target", "kept"),
    [("dermaexp.models.ffn.FFN", set()), ("dermaexp.models.timm_net.build", {"weights"})],
)
def test_without_weights_a_config_is_that_of_earlier_versions(target: str, kept: set) -> None:
    model = {"_target_": target, "weights": None, "init_from": None}
    assert effective(OmegaConf.create({"model": model}))["model"].keys() == {"_target_"} | kept


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            ["model.weights=DEFAULT"],
            "model.weights=DEFAULT: expected the path of a .pt, .pth",
        ),
        (["model.weights=gone.pt"], "model.weights=gone.pt does not exist: expected a file in "),
        (["model.init_from=gone"], "model.init_from=gone: gone is no run directory: expected one"),
        (["model.init_from=failed"], "model.init_from=failed: failed is failed: expected a finish"),
        (["model.init_from=freed"], "best.ckpt is missing, `python -m dermaexp rm` frees checkpo"),
        (
            ["model.init_from=first", "model.weights=w.pt"],
            "model.weights=w.pt and model.init_from=first exclude each other: give one of them",
        ),
        (["model.init_from=first", "model.hidden=[5]"], "best.ckpt is of another model: layers.1."),
    ],
)
def test_what_cannot_be_started_from(
    given: list[str],
    line: str,
    folder: Path,
    cli: Cli,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    record = json.loads((folder / "first/run.json").read_text())
    for name in ("failed", "freed"):
        (folder / name).mkdir()
    (folder / "failed/run.json").write_text(json.dumps(record | {"status": "failed"}))
    for name in ("run.json", "metrics.json"):
        shutil.copy(folder / "first" / name, folder / "freed")
    assert cli(*overridden(OPTIONS, *given), "hydra.run.dir=second") == 1
    errors = capsys.readouterr().err
    assert line in errors and errors.count("\n") == 1
