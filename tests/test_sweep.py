"""Sweeps: every job, their comparison, failures that do not stop the others."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from dermaexp.compare import compare, varied_keys
from dermaexp.data import sources
from dermaexp.errors import UserError
from dermaexp.results import RunDirectory, write_bytes

QUICK = (
    "trainer=cpu",
    "callbacks.montage=null",
    "callbacks.confusion_matrix=null",
    "callbacks.per_class_accuracy=null",
    "callbacks.misclassified=null",
)


@pytest.fixture
def sweep(cli: Callable[..., int], data_file: Path, tmp_path: Path) -> Callable[..., Path]:
    def run(*arguments: str, code: int = 0) -> Path:
        data = ("dataset=npz", f"dataset.path={data_file}")
        assert cli("-m", *data, "epochs=2", *QUICK, *arguments) == code
        (folder,) = tmp_path.glob("multirun/*/*")
        return folder

    return run


def leaderboard(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "leaderboard.csv").open()))


def test_a_grid_of_four(sweep, capsys, monkeypatch) -> None:
    loads = []
    instantiate = sources.instantiate
    sources._kept.clear()
    monkeypatch.setattr(sources, "instantiate", lambda c: loads.append(c) or instantiate(c))
    folder = sweep("model=ffn,cnn", "batch_size=32,64")
    assert len(loads) == 1, "the data are loaded once for all jobs"

    rows = leaderboard(folder)
    combinations = {(row["model"], row["batch_size"]) for row in rows}
    assert combinations == {("ffn", "32"), ("ffn", "64"), ("cnn", "32"), ("cnn", "64")}
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"]
    scores = [float(row["val_macro_auroc"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    for row in rows:
        directory = RunDirectory(folder / row["job"])
        numbers, run = directory.read_metrics(), directory.read_run()
        assert run["status"] == row["status"] == "finished"
        number, _, name = row["job"].partition("_")
        assert name == f"batch_size={row['batch_size']},model={row['model']}"
        assert number in "0123"
        assert float(row["val_macro_auroc"]) == numbers["val"]["macro_auroc"]
        assert float(row["test_accuracy"]) == numbers["test"]["accuracy"]
        assert float(row["majority_accuracy"]) == numbers["test"]["majority_accuracy"] == 0.6
    markdown = (folder / "leaderboard.md").read_text()
    assert markdown.count("\n| ") == 6
    assert "# Leaderboard on small" in markdown
    assert min(Image.open(folder / "figures" / "learning_curves.png").size) > 600
    output = capsys.readouterr().out
    assert "Leaderboard on small" in output
    assert output.count("run directory: ") == 4


def test_one_failing_job_does_not_stop_the_others(sweep, capsys) -> None:
    folder = sweep("model=ffn", "batch_size=0,32", "optimizer.lr=1e-3,1e-2", code=1)
    rows = leaderboard(folder)
    assert [row["status"] for row in rows] == ["finished", "finished", "failed", "failed"]
    assert {row["error"] for row in rows[2:]} == {"batch_size=0: expected a whole number from 1"}
    output = capsys.readouterr()
    assert "error: job 0 failed: batch_size=0: expected a whole number from 1" in output.err
    assert "2 of the sweep's jobs did not finish" in output.err
    assert (folder / "figures" / "learning_curves.png").exists()
    failed = folder / rows[-1]["job"]
    assert "UserError" in (failed / "dermaexp.log").read_text()


def test_synthetic_jobs_are_stamped(cli, tmp_path: Path, capsys) -> None:
    jobs = ("dataset=synthetic", "trainer=debug", "model=ffn", "seed=0,1")
    assert cli("-m", *jobs, *QUICK[1:], "hydra.sweep.dir=sweep") == 0
    rows = leaderboard(tmp_path / "sweep")
    assert {row["data"] for row in rows} == {"Drawn lesions (SYNTHETIC DATA)"}
    assert "SYNTHETIC DATA" in (tmp_path / "sweep" / "leaderboard.md").read_text()
    assert "Leaderboard on Drawn lesions (SYNTHETIC DATA)" in capsys.readouterr().out


def write_job(folder: Path, score: float | None, **run: object) -> None:
    directory = RunDirectory(folder)
    record = {
        "status": "finished",
        "overrides": [],
        "data": {"name": "Data", "fingerprint": "1f"},
        **run,
    }
    directory.write_run(record)
    if record["status"] == "finished":
        split = {"macro_auroc": score, "accuracy": 0.5, "balanced_accuracy": 0.5, "macro_f1": 0.5}
        directory.write_metrics(
            {
                "val": split,
                "test": split | {"majority_accuracy": 0.4},
                "best_epoch": 1,
                "seconds": {"total": 1.0},
            }
        )


def test_compare_orders_by_val_and_counts_the_unfinished(tmp_path: Path) -> None:
    write_job(tmp_path / "a", 0.7, overrides=["seed=0", "model=ffn"])
    write_job(tmp_path / "b", None, overrides=["seed=1", "model=ffn"])
    write_job(tmp_path / "c", 0.9, overrides=["seed=2", "model=ffn"])
    write_job(tmp_path / "d", 0.9, status="interrupted", overrides=["seed=3", "model=ffn"])
    (tmp_path / "notes").mkdir()
    write_bytes(tmp_path / "multirun.yaml", b"")
    assert compare(tmp_path) == 1
    rows = leaderboard(tmp_path)
    assert [row["job"] for row in rows] == ["c", "a", "b", "d"]
    assert "seed" in rows[0] and "model" not in rows[0], "only what varies is a column"
    assert not (tmp_path / "figures").exists(), "no job kept a history"


def test_compare_says_when_there_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no runs"):
        compare(tmp_path)


def test_varied_keys_keep_the_commands_order(tmp_path: Path) -> None:
    from dermaexp.compare import read_jobs

    write_job(tmp_path / "a", 0.5, overrides=["model=ffn", "epochs=3", "batch_size=8"])
    write_job(tmp_path / "b", 0.5, overrides=["model=cnn", "epochs=3", "batch_size=8"])
    write_job(tmp_path / "c", 0.5, overrides=["model=cnn", "epochs=3"])
    assert varied_keys(read_jobs(tmp_path)) == ["model", "batch_size"]


def test_a_failing_comparison_is_an_error(sweep, monkeypatch, capsys) -> None:
    from dermaexp import plots

    def broken(*_: object, **__: object) -> None:
        raise ValueError("no ink")

    monkeypatch.setattr(plots, "job_curves", broken)
    folder = sweep("model=ffn", "seed=0,1", code=1)
    assert "failed: ValueError: no ink" in capsys.readouterr().err
    assert json.loads((folder / leaderboard(folder)[0]["job"] / "run.json").read_text())


def test_jobs_on_other_data_are_never_ranked_together(tmp_path: Path, capsys) -> None:
    drawn = {"name": "Drawn lesions (SYNTHETIC DATA)", "fingerprint": "2e"}
    write_job(tmp_path / "a", 0.7, overrides=["dataset.size=28"])
    write_job(tmp_path / "b", 0.9, overrides=["dataset.size=64"], data=drawn)
    write_job(tmp_path / "c", 0.8, overrides=["dataset.size=28"])
    assert compare(tmp_path) == 0
    rows = leaderboard(tmp_path)
    assert [(row["job"], row["rank"]) for row in rows] == [("b", "1"), ("c", "1"), ("a", "2")]
    assert [row["data"] for row in rows] == [drawn["name"], "Data", "Data"]
    output = capsys.readouterr().out
    assert output.index("Leaderboard on Drawn lesions (SYNTHETIC DATA)") < output.index(
        "Leaderboard on Data"
    )
    markdown = (tmp_path / "leaderboard.md").read_text()
    assert markdown.count("## Leaderboard on ") == 2


def test_a_job_that_left_no_record_did_not_finish(tmp_path: Path, capsys) -> None:
    write_job(tmp_path / "a", 0.7)
    (tmp_path / "b" / ".hydra").mkdir(parents=True)
    assert compare(tmp_path) == 1
    assert leaderboard(tmp_path)[1]["error"] == "it left no run.json"
    assert "Did not finish" in capsys.readouterr().out


def test_a_sweep_never_goes_into_anothers_folder(sweep, tmp_path: Path, capsys) -> None:
    folder = sweep("model=ffn", "seed=0,1")
    before = (folder / "leaderboard.csv").read_bytes()
    sweep("model=ffn", "seed=2,3", f"hydra.sweep.dir={folder}", code=1)
    assert "holds runs already: choose another hydra.sweep.dir" in capsys.readouterr().err
    assert (folder / "leaderboard.csv").read_bytes() == before
    assert len(leaderboard(folder)) == 2


def test_several_sources_of_a_sweep_are_loaded_once_each(monkeypatch, data_file: Path) -> None:
    from omegaconf import OmegaConf

    loads = []
    instantiate = sources.instantiate
    monkeypatch.setattr(sources, "_kept", {})
    monkeypatch.setattr(sources, "instantiate", lambda c: loads.append(c) or instantiate(c))

    def load(name: str):
        source = {"_target_": "dermaexp.data.npz.load", "path": str(data_file), "name": name}
        return sources.load_splits(
            OmegaConf.create({**source, "grayscale": True, "normalize": False})
        )

    for name in ("a", "b", "a", "b"):
        assert load(name).name == name
    assert len(loads) == 2
    monkeypatch.setattr(sources, "KEPT_BYTES", 0)
    load("c")
    assert len(sources._kept) == 1, "what is too large together is not kept"
