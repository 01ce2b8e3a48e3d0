"""Sweeps: every job, their comparison, failures that do not stop the others."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import NO_FIGURES, overridden
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from PIL import Image

from dermaexp.data import load
from dermaexp.launch import job
from dermaexp.launch.follow import ends_reported
from dermaexp.models.cnn import CNN
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.locks import locked


@pytest.fixture
def sweep(cli: Callable[..., int], data_file: Path, tmp_path: Path) -> Callable[..., Path]:
    def run(*arguments: str, code: int = 0) -> Path:
        data = ("dataset=npz", f"dataset.path={data_file}", "trainer=cpu")
        options = ("-m", *data, "epochs=2", *NO_FIGURES)
        assert cli(*overridden(options, *arguments)) == code
        (folder,) = (file.parent for file in tmp_path.glob("multirun/**/multirun.yaml"))
        return folder

    return run


def rows(folder: Path, name: str = "leaderboard") -> list[dict[str, str]]:
    return list(csv.DictReader((folder / f"{name}.csv").open()))


@pytest.mark.slow
def test_a_grid_of_four(sweep, capsys, monkeypatch) -> None:
    loads = []
    instantiate = load.instantiate
    load._kept.clear()
    monkeypatch.setattr(load, "instantiate", lambda c: loads.append(c) or instantiate(c))
    folder = sweep("model=ffn,cnn", "batch_size=32,64")
    assert len(loads) == 1, "the data are loaded once for all jobs"

    groups, runs = rows(folder), rows(folder, "runs")
    combinations = {(row["model"], row["batch_size"]) for row in groups[:4]}
    assert combinations == {("ffn", "32"), ("ffn", "64"), ("cnn", "32"), ("cnn", "64")}
    assert [row["rank"] for row in groups] == ["1", "2", "3", "4", ""]
    assert float(groups[4]["test_accuracy"]) == 0.6, "the majority baseline stands last"
    scores = [float(row["val_macro_auroc"]) for row in groups[:4]]
    assert scores == sorted(scores, reverse=True)
    for group, row in zip(groups[:4], runs, strict=True):
        directory = RunDirectory(folder / row["folder"])
        numbers, run = directory.read_metrics(), directory.read_run()
        assert run["status"] == row["status"] == "finished"
        assert f"batch_size={row['batch_size']},model={row['model']}" in row["folder"]
        assert float(group["val_macro_auroc"]) == numbers["val"]["macro_auroc"]
        assert float(row["val_macro_auroc"]) == numbers["val"]["macro_auroc"]
        assert float(row["test_accuracy"]) == numbers["test"]["accuracy"]
        assert numbers["test"]["majority_accuracy"] == 0.6
    markdown = (folder / "leaderboard.md").read_text()
    assert markdown.count("\n| ") == 7
    assert "# Leaderboard on small" in markdown
    assert min(Image.open(folder / "figures" / "learning_curves.png").size) > 500
    output = capsys.readouterr().out
    assert "Leaderboard on small" in output
    assert output.count("run directory: ") == 4
    assert " in macro AUROC: " in " ".join(output.split())


@pytest.mark.slow
def test_one_failing_job_does_not_stop_the_others(sweep, capsys) -> None:
    folder = sweep("model=ffn", "batch_size=0,32", "optimizer.lr=1e-3,1e-2", code=1)
    runs = rows(folder, "runs")
    assert [row["status"] for row in runs] == ["finished", "finished", "failed", "failed"]
    assert {row["error"] for row in runs[2:]} == {"batch_size=0: expected a whole number from 1"}
    output = capsys.readouterr()
    assert "error: job 0 failed: batch_size=0: expected a whole number from 1" in output.err
    assert "2 of the sweep's jobs did not finish" in output.err
    assert (folder / "figures" / "learning_curves.png").exists()
    failed = folder / runs[-1]["folder"]
    assert "UserError" in (failed / "dermaexp.log").read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("tables_only")
def test_synthetic_jobs_are_stamped(cli, tmp_path: Path, capsys) -> None:
    jobs = ("dataset=synthetic", "trainer=debug", "model=ffn", "seed=0,1")
    assert cli("-m", *jobs, *NO_FIGURES, "hydra.sweep.dir=sweep") == 0
    groups = rows(tmp_path / "sweep")
    assert (groups[0]["n"], groups[0]["seeds"]) == ("2", "0 1"), "seeds are one group"
    assert {row["data"] for row in groups} == {"Synthetic lesions (SYNTHETIC DATA)"}
    assert "SYNTHETIC DATA" in (tmp_path / "sweep" / "leaderboard.md").read_text()
    assert "Leaderboard on Synthetic lesions (SYNTHETIC DATA)" in capsys.readouterr().out


@pytest.mark.slow
def test_a_failing_comparison_is_an_error(sweep, monkeypatch, capsys) -> None:
    from dermaexp.compare import plots

    def broken(*_: object, **__: object) -> None:
        raise ValueError("no ink")

    monkeypatch.setattr(plots, "group_curves", broken)
    folder = sweep("model=ffn", "seed=0,1", code=1)
    assert "failed: ValueError: no ink" in capsys.readouterr().err
    assert json.loads((folder / rows(folder, "runs")[0]["folder"] / "run.json").read_text())


def written(folder: Path) -> dict[str, int]:
    """Job folder -> when its run.json was written last, in ns."""
    return {file.parent.name: file.stat().st_mtime_ns for file in folder.glob("*/run.json")}


@pytest.mark.slow
@pytest.mark.usefixtures("tables_only")
def test_a_named_sweep_trains_what_is_missing(sweep, cli, tmp_path: Path, capsys) -> None:
    """A wider grid, also over other keys, adds jobs to those that are there."""
    folder = sweep("name=lr study", "model=ffn", "seed=0,1")
    assert folder == tmp_path / "multirun" / "lr-study"
    first = written(folder)
    assert all(re.fullmatch(r"seed=[01]-[0-9a-f]{8}", name) for name in first)
    capsys.readouterr()
    sweep("name=lr study", "model=ffn,cnn", "seed=0,1,2")
    output = capsys.readouterr().out
    assert output.count("finished before: not run again") == 2
    assert first.items() <= written(folder).items()
    assert len(written(folder)) == 6
    groups = rows(folder)
    assert {(row["model"], row["seeds"]) for row in groups[:2]} == {
        ("ffn", "0 1 2"),
        ("cnn", "0 1 2"),
    }
    everything = written(folder)
    assert cli(f"resume={folder}") == 0
    assert "finished before" in capsys.readouterr().out
    assert written(folder) == everything


@pytest.mark.slow
@pytest.mark.usefixtures("tables_only")
def test_a_failed_job_is_retried(sweep, monkeypatch, capsys) -> None:
    options = ("name=s", "model=ffn,cnn", "seed=0,1")
    with monkeypatch.context() as patch:
        patch.setattr(CNN, "forward", lambda self, images: images / 0)
        folder = sweep(*options, code=1)
    states = {row["folder"]: row["status"] for row in rows(folder, "runs")}
    assert sorted(states.values()) == ["failed", "failed", "finished", "finished"]
    before = written(folder)
    sweep(*options)
    after = written(folder)
    assert {name for name in after if after[name] != before[name]} == {
        name for name, status in states.items() if status == "failed"
    }
    assert {row["status"] for row in rows(folder, "runs")} == {"finished"}


@pytest.mark.slow
def test_a_sweep_can_stop_at_the_first_failure(sweep, tmp_path: Path, capsys) -> None:
    options = ("name=s", "model=ffn", "batch_size=32,0,16", "sweep.stop_on_failure=true")
    sweep(*options, code=1)
    errors = capsys.readouterr().err
    assert errors.startswith("error: job 1 failed: batch_size=0: expected a whole number from 1; ")
    assert errors.count("\n") == 1
    folder = tmp_path / "multirun" / "s"
    assert len(written(folder)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("option", ["name=a,b", "name=choice(a,b)"])
def test_a_sweep_has_one_name(cli, tmp_path: Path, capsys, option: str) -> None:
    assert cli("-m", option, "seed=0,1") == 1
    assert "name takes several values: expected one" in capsys.readouterr().err
    assert not (tmp_path / "multirun").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "2026-11-23", "//"])
def test_a_sweeps_name_is_a_folder_of_its_own(cli, tmp_path: Path, capsys, name: str) -> None:
    assert cli("-m", f"name='{name}'", "seed=0,1") == 1
    errors = capsys.readouterr().err
    assert errors.startswith(f"error: name={name}: expected a word that can name a folder")
    assert not (tmp_path / "multirun").exists()


@pytest.mark.slow
def test_a_named_sweep_with_a_typo_leaves_nothing(cli, tmp_path: Path, capsys) -> None:
    assert cli("-m", "name=s", "optimizer.rl=1e-3,1e-2") == 1
    assert "did you mean 'optimizer.lr'?" in capsys.readouterr().err
    assert not (tmp_path / "multirun" / "s").exists()


def test_two_sweeps_never_work_in_one_folder(cli, tmp_path: Path, capsys) -> None:
    folder = tmp_path / "multirun" / "s"
    folder.mkdir(parents=True)
    with locked(folder, wait=False):
        assert cli("-m", "name=s", "seed=0,1") == 1
    assert f"another process is at work in {folder}: wait" in capsys.readouterr().err
    assert not written(folder)


def test_several_sources_of_a_sweep_are_loaded_once_each(monkeypatch, data_file: Path) -> None:
    from omegaconf import OmegaConf

    loads = []
    instantiate = load.instantiate
    monkeypatch.setattr(load, "_kept", {})
    monkeypatch.setattr(load, "instantiate", lambda c: loads.append(c) or instantiate(c))

    def loaded(name: str):
        source = {"_target_": "dermaexp.data.npz.load", "path": str(data_file), "name": name}
        return load.load_splits(OmegaConf.create({**source, "grayscale": True, "normalize": False}))

    for name in ("a", "b", "a", "b"):
        assert loaded(name).name == name
    assert len(loads) == 2
    monkeypatch.setattr(load, "KEPT_BYTES", 0)
    loaded("c")
    assert len(load._kept) == 1, "what is too large together is not kept"


DEBUG = ("trainer=debug", "callbacks=no_figures", "report=false", "hydra.sweep.dir=s")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "jobs"),
    [
        (
            ["experiment=quick,strong", "model.width=4"],
            {"experiment=quick model.width=4", "experiment=strong model.width=4"},
        ),
        (
            ["model=ffn,cnn", "~model.activation", "loss=focal"],
            {f"model={name} ~model.activation=null loss=focal" for name in ("ffn", "cnn")},
        ),
        (
            ["hydra.mode=MULTIRUN", "model=cnn,resnet11", "loss=focal"],
            {"model=cnn loss=focal", "model=resnet11 loss=focal"},
        ),
        (
            ["model=resnet11", "optimizer=adamw,sgd", "optimizer.weight_decay=0.1,0.2"],
            {
                f"model=resnet11 optimizer={name} optimizer.weight_decay={decay}"
                for name in ("adamw", "sgd")
                for decay in (0.1, 0.2)
            },
        ),
        (
            ["model=timm,torchvision", "model.arch=resnet18", "model.size=null"],
            {
                f"model={name} model.arch=resnet18 model.size=null"
                for name in ("timm", "torchvision")
            },
        ),
    ],
)
def test_keys_of_swept_options_work(
    cli, monkeypatch: pytest.MonkeyPatch, options: list[str], jobs: set[str]
) -> None:
    ran = []

    def composed(config: DictConfig, **_: object) -> float:
        ran.append(set(HydraConfig.get().overrides.task) - set(DEBUG) - {"report=False"})
        return 0.5

    monkeypatch.setattr(job, "run_job", composed)
    monkeypatch.setattr("dermaexp.compare.output.compare", lambda folder: 0)
    flag = [] if "hydra.mode=MULTIRUN" in options else ["--multi"]
    assert cli(*flag, *options, *DEBUG) == 0
    assert sorted(ran, key=sorted) == sorted((set(one.split()) for one in jobs), key=sorted)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ["optimizer=sgd,adamw", "optimizer.momentum=0.5"],
            "optimizer.momentum is one of optimizer=sgd, not of optimizer=adamw",
        ),
        (
            ["model=ffn,resnet11", "model.width=4,8"],
            "model.width is one of model=resnet11, not of model=ffn",
        ),
        (
            ["experiment=quick,notebook_ffn", "model.width=4"],
            "model.width is one of experiment=quick, not of experiment=notebook_ffn",
        ),
        (["model=ffn,cnn", "model.hiden=[8]"], "model.hiden is unknown: did you mean 'model.hid"),
    ],
)
def test_a_key_that_only_some_options_have(
    cli, tmp_path: Path, capsys, options: list[str], line: str
) -> None:
    assert cli("-m", *options, *DEBUG) == 1
    errors = capsys.readouterr().err
    assert line in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "s").exists()


def test_a_launcher_inside_a_swept_experiment(cli, tmp_path: Path, capsys) -> None:
    """It would have no effect; given on the command line it has."""
    folder = tmp_path / "conf" / "experiment"
    folder.mkdir(parents=True)
    for name in ("a", "b"):
        (folder / f"{name}.yaml").write_text(
            "# @package _global_\ndefaults:\n  - override /hydra/launcher: joblib\n"
        )
    options = ["-m", "--config-dir", str(tmp_path / "conf"), "experiment=a,b", *DEBUG]
    assert cli(*options) == 1
    errors = capsys.readouterr().err
    assert "experiment=a sets hydra.launcher (hydra/launcher=joblib), which has no effect" in errors
    assert errors.count("\n") == 1


@pytest.mark.slow
def test_what_a_sweep_writes_over_is_its_own(cli, tmp_path: Path, capsys) -> None:
    folder = tmp_path / "multirun" / "s"
    folder.mkdir(parents=True)
    for name, content in (("leaderboard.csv", "mine"), ("multirun.yaml", "hydra: {job: {}}")):
        (folder / name).write_text(content)
        assert cli("-m", "name=s", "seed=0,1") == 1
        errors = capsys.readouterr().err
        assert f"{folder} holds {name} but no sweep of dermaexp" in errors
        assert (folder / name).read_text() == content
        (folder / name).unlink()


@pytest.mark.parametrize("name", [".hydra/config.yaml", "dermaexp.log", "metrics.json"])
def test_a_jobs_own_folder_is_looked_at_first(cli, tmp_path: Path, capsys, name: str) -> None:
    file = tmp_path / "s" / "0" / name
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    assert cli("-m", "seed=0", *DEBUG, "hydra.sweep.subdir=${hydra:job.num}") == 1
    errors = capsys.readouterr().err
    assert f"{tmp_path / 's' / '0'} holds {name.partition('/')[0]} but no run.json" in errors
    assert [path for path in (tmp_path / "s").rglob("*") if path.is_file()] == [file]
    assert file.read_text() == "mine"


def test_an_error_before_the_first_job_ends_the_sweep(cli, tmp_path: Path, capsys, monkeypatch):
    """Hydra makes a warning of a callback's exception, and the jobs would run anywhere."""
    from dermaexp.launch import sweep

    def broken(folder: Path) -> None:
        raise ValueError("no folder")

    monkeypatch.setattr(sweep, "make", broken)
    assert cli("-m", "name=s", "seed=0,1") == 1
    errors = capsys.readouterr().err
    assert errors.startswith("error: ValueError: no folder")
    assert errors.count("\n") == 1
    assert not (tmp_path / "multirun").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("tables_only")
def test_a_damaged_run_in_a_sweep_is_listed(sweep, capsys, tmp_path: Path) -> None:
    folder = sweep("name=s", "model=ffn")
    (folder / "old").mkdir()
    for content in ('{"status": ', "[]", '{"finished": 3}', ""):
        (folder / "old" / "run.json").write_text(content)
        with ends_reported(folder):  # as of submitit's jobs
            pass
        capsys.readouterr()
        sweep("name=s", "model=ffn", code=1)
        assert "finished before" in capsys.readouterr().out
        states = {row["folder"]: row["status"] for row in rows(folder, "runs")}
        assert set(states) == {"old", next(name for name in states if name != "old")}


@pytest.mark.slow
@pytest.mark.usefixtures("tables_only")
def test_the_same_data_and_numbers_are_the_same_job(
    sweep, data_file: Path, tmp_path: Path, capsys
) -> None:
    """However they are written: the content of the data is in a job's digest, not its place."""
    options = ("name=s", "model=ffn", "augment=light", "+trainer.limit_val_batches=1")
    folder = sweep(*options, "augment.rotation=15,20")
    first = written(folder)
    assert len(first) == 2
    capsys.readouterr()
    again = (f"dataset.path=./{data_file.name}", "dataset.name=other", "augment.rotation=15.0,20.0")
    sweep(*options, *again)
    assert capsys.readouterr().out.count("finished before: not run again") == 2
    assert written(folder) == first
    for number, name in enumerate(first):  # as an earlier version named them
        (folder / name).rename(folder / f"{name[:-8]}{number:08x}")
    sweep(*options, "augment.rotation=15,20")
    assert capsys.readouterr().out.count("finished before: not run again") == 2
    sweep(*options[:-1], "+trainer.limit_val_batches=1.0", "augment.rotation=15,20")
    assert len(written(folder)) == 4, "1 is a batch, 1.0 all of them"


@pytest.mark.slow
@pytest.mark.usefixtures("tables_only")
def test_a_jobs_folder_has_the_last_name_of_a_path(sweep, data_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "home" / "anna"
    other.mkdir(parents=True)
    content = dict(np.load(data_file))
    np.savez(other / "x.npz", **content | {"train_images": content["train_images"][::-1]})
    folder = sweep("model=ffn", f"dataset.path={data_file},{other / 'x.npz'}", "name=s")
    names = {name.rpartition("-")[0] for name in written(folder)}
    assert names == {"dataset.path=small.npz", "dataset.path=x.npz"}


@pytest.mark.slow
def test_a_component_of_ones_own_has_its_own_rules(
    cli, data_file: Path, tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "own_parts.py").write_text(
        "from pytorch_lightning import Callback\n"
        "from torch.optim.lr_scheduler import MultiStepLR\n"
        "def by_epochs(optimizer, steps, milestones, gamma):\n"
        "    return MultiStepLR(optimizer, milestones, gamma)\n"
        "class Stop(Callback):\n"
        "    def __init__(self, monitor):\n"
        "        assert monitor == 'anything'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = ["scheduler=multistep", "scheduler._target_=own_parts.by_epochs"]
    own += ["scheduler.milestones=[30,60]", "+callbacks.early_stopping._target_=own_parts.Stop"]
    own += ["+callbacks.early_stopping.monitor=anything"]
    data = ("dataset=npz", f"dataset.path={data_file}", "model=ffn")
    assert cli(*data, *own, *DEBUG[:-1], "hydra.run.dir=run") == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "warned"),
    [
        ("loss=weighted", True),
        ("loss=logit_adjusted", True),
        ("loss=focal", False),
        ("loss=weighted loss.power=0", False),
    ],
)
def test_a_loss_and_a_sampler_that_correct_twice(
    cli, data_file: Path, tmp_path: Path, capsys, loss: str, warned: bool
) -> None:
    data = ("dataset=npz", f"dataset.path={data_file}", "sampler=balanced", "model=ffn")
    assert cli(*data, *loss.split(), *DEBUG[:-1], "hydra.run.dir=run") == 0
    assert ("both correct for rare classes" in capsys.readouterr().err) == warned
