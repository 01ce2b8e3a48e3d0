"""The verbs ls and rm, on runs written by hand."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from helpers import OTHER_DATA, make_sweep, write_run

from dermaexp.core.console import console
from dermaexp.core.text import age_text, size_text
from dermaexp.inference import rm
from dermaexp.inference.ls import Entry, entries
from dermaexp.inference.rm import planned
from dermaexp.inference.verbs import VERBS
from dermaexp.runs.collect import read_runs
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.locks import locked

Cli = Callable[..., int]


def with_checkpoints(run: RunDirectory, size: int = 1000) -> RunDirectory:
    run.checkpoints.mkdir()
    for file in (run.best_checkpoint, run.last_checkpoint):
        file.write_bytes(bytes(size))
    return run


def rows_of(folder: Path) -> dict[str, Entry]:
    return {entry.path.name: entry for entry in entries(folder, read_runs([folder]))}


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """multirun/lr: cnn0 is the best by val."""
    folder = make_sweep(tmp_path / "multirun" / "lr")
    (folder / "multirun.yaml").write_text("")
    for job in folder.glob("*/"):
        with_checkpoints(RunDirectory(job))
    return folder


def files_below(folder: Path) -> set[Path]:
    return {file for file in folder.rglob("*") if file.is_file() and file.name != ".lock"}


def test_a_row_for_each_run_and_sweep(tmp_path: Path, sweep: Path) -> None:
    ended = (datetime.now(UTC) - timedelta(hours=3)).isoformat()
    run = write_run(tmp_path / "outputs" / "one", val=0.7, wrong=30, finished=ended)
    (run.path / "big").write_bytes(bytes(10**6))
    found = rows_of(tmp_path)
    assert set(found) == {"one", "lr"}
    one, lr = found["one"], found["lr"]
    assert (one.status, one.runs, one.data, one.val) == ("finished", None, "Data", 0.7)
    assert one.test == run.read_metrics()["test"]["macro_auroc"]
    assert one.seconds == pytest.approx(3 * 3600, abs=60)
    assert one.size == sum(file.stat().st_size for file in files_below(run.path)) > 10**6
    best = RunDirectory(sweep / "cnn0").read_metrics()["test"]["macro_auroc"]
    assert (lr.status, lr.runs, lr.val, lr.test) == ("failed", 6, 0.9, best)
    jobs = rows_of(sweep)
    assert {name: job.val for name, job in jobs.items()} == {
        "cnn0": 0.9,
        "cnn1": 0.8,
        "ffn0": 0.7,
        "ffn1": 0.7,
        "mlp": None,
        "bad": None,
    }
    with locked(sweep, wait=False):
        assert rows_of(tmp_path)["lr"].status == "running"


def test_the_status_is_the_true_one(tmp_path: Path) -> None:
    for name in ("stale", "busy"):
        write_run(tmp_path / name, status="running")
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "multirun.yaml").touch()
    write_run(tmp_path / "search" / "low", status="pruned", pruned_after=2)
    assert rows_of(tmp_path / "search")["low"].status == "pruned"
    write_run(tmp_path / "search" / "best")
    lost = write_run(tmp_path / "lost")
    (lost.path / "metrics.json").write_text("{")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "run.json").write_text('{"status": "fini')
    with locked(tmp_path / "busy", wait=False):
        found = rows_of(tmp_path)
    assert {name: entry.status for name, entry in found.items()} == {
        "stale": "interrupted",
        "busy": "running",
        "lost": "damaged",
        "torn": "damaged",
        "search": "finished",
    }
    assert found["torn"].seconds < 60


def test_words_filter_and_the_order_is_given(cli: Cli, tmp_path: Path, capsys) -> None:
    runs = {"a": (0.7, 3, ["optimizer.lr=3e-4"]), "b": (0.9, 2, []), "c": (0.8, 1, ["seed=1"])}
    for name, (val, day, overrides) in runs.items():
        write_run(
            tmp_path / "outputs" / f"run-{name}",
            val=val,
            finished=f"2026-01-0{day}T00:00:00+00:00",
            overrides=overrides,
        )
    (tmp_path / "outputs" / "run-c" / "more").write_bytes(bytes(5000))

    def order(*arguments: str) -> str:
        assert cli("ls", *arguments) == 0
        lines = capsys.readouterr().out.split()
        return "".join(word[-1] for word in lines if word.startswith("outputs/run-"))

    assert order() == order("outputs") == "abc"
    assert order("--sort", "score") == "bca"
    assert order("outputs", "--sort", "size")[0] == "c"
    assert order("LR=3e-4", "ffn") == "a"
    assert order("outputs", "seed=1") == "c"
    assert cli("ls", "seed=1", "lr") == 1
    assert "none of 3 runs and sweeps has seed=1 and lr" in capsys.readouterr().err
    assert cli("ls", "no/where") == 1
    assert "no/where is not a folder" in capsys.readouterr().err


def test_a_narrow_terminal_breaks_paths_where_folders_end(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    data = OTHER_DATA | {"name": "DermaMNIST (rebuilt)"}
    write_run(tmp_path / "outputs" / "2026-11-29" / "16-48-34_wide_resnet", val=0.7, data=data)
    monkeypatch.setattr(console, "width", 80)
    assert cli("ls") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    (first,) = (number for number, words in enumerate(lines) if "outputs/2026-11-29/" in words)
    assert lines[first][:2] == ["outputs/2026-11-29/", "finished"]
    assert {"DermaMNIST", "0.7000"} <= set(lines[first])
    assert "16-48-34_wide_resnet" in lines[first + 1]


def test_ls_without_folders(cli: Cli, capsys) -> None:
    assert cli("ls") == 1
    assert "there is no outputs or multirun here" in capsys.readouterr().err


def test_verbs_load_what_takes_long_after_their_help() -> None:
    code = f"import sys, {', '.join(VERBS.values())}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert set(VERBS.values()) <= set(loaded.split())
    slow = {"torch", "pandas", "scipy", "sklearn", "matplotlib", "gradio", "captum", "onnx"}
    assert not slow & set(loaded.split())


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0.1 kB"), (1500, "1.5 kB"), (2.5e6, "2.5 MB"), (3e9, "3.0 GB")]
)
def test_sizes(number: float, text: str) -> None:
    assert size_text(int(number)) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0 s"), (59, "59 s"), (60, "1 min"), (7300, "2 h"), (1e6, "11 d")]
)
def test_ages(seconds: float, text: str) -> None:
    assert age_text(seconds) == text


def test_rm_of_a_sweep_keeps_the_best_run(cli: Cli, sweep: Path, capsys) -> None:
    own = sweep / "cnn1" / "checkpoints" / "mine.ckpt"
    own.write_bytes(b"precious")
    before = files_below(sweep)
    assert cli("rm", sweep, "--yes") == 0
    output = capsys.readouterr().out
    assert "freed 8.0 kB" in output and "left alone, as not finished or at work: 1 run\n" in output
    gone = {
        sweep / job / "checkpoints" / f"{name}.ckpt"
        for job in ("cnn1", "ffn0", "ffn1", "mlp")
        for name in ("best", "last")
    }
    assert before - files_below(sweep) == gone
    assert not (sweep / "ffn0" / "checkpoints").exists()
    assert cli("rm", sweep, "--yes") == 0
    assert "no checkpoint to free" in capsys.readouterr().out


@pytest.mark.parametrize("tested", ["best", "last"])
def test_rm_of_a_run_keeps_what_was_tested(cli: Cli, tmp_path: Path, tested: str) -> None:
    run = with_checkpoints(write_run(tmp_path / "run"))
    run.write_metrics(json.loads((run.path / "metrics.json").read_text()) | {"tested_with": tested})
    assert cli("rm", run.path, "--yes") == 0
    assert [file.stem for file in run.checkpoint_files()] == [tested]


def test_rm_keeps_the_best_on_each_data_set(tmp_path: Path) -> None:
    a = with_checkpoints(write_run(tmp_path / "a", val=0.9))
    b = with_checkpoints(write_run(tmp_path / "b", val=0.8))
    other = with_checkpoints(write_run(tmp_path / "other", val=0.6, data=OTHER_DATA))
    assert planned([tmp_path]).freed == {b.path: b.checkpoint_files()}
    # What one folder keeps, no other removes.
    assert planned([tmp_path, b.path]).freed == {b.path: [b.last_checkpoint]}
    with locked(b.path, wait=False):
        assert planned([tmp_path]) == ({}, {*a.checkpoint_files(), *other.checkpoint_files()}, 1)
    undefined = with_checkpoints(write_run(tmp_path / "new" / "c", val=None))
    assert not planned([undefined.path.parent]).freed


@pytest.mark.parametrize(("answer", "removed"), [("y", True), ("", False), ("no", False)])
def test_rm_asks(
    cli: Cli,
    sweep: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys,
    answer: str,
    removed: bool,
) -> None:
    asked = []
    monkeypatch.setattr(rm.sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or answer)
    before = files_below(sweep)
    assert cli("rm", sweep) == 0
    assert asked == ["remove 8 checkpoints, 8.0 kB? [y/N] "]
    assert (files_below(sweep) != before) == removed
    assert ("nothing was removed" in capsys.readouterr().out) != removed


def test_rm_without_a_terminal_removes_nothing(
    cli: Cli, sweep: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    before = files_below(sweep)
    assert cli("rm", sweep) == 1
    error = capsys.readouterr().err
    assert "remove 8 checkpoints, 8.0 kB?" in error and "give --yes" in error
    assert files_below(sweep) == before


def test_rm_rechecks_under_the_lock(cli: Cli, sweep: Path, monkeypatch, capsys) -> None:
    """A run that is resumed between the plan and the removal keeps its checkpoints."""
    plan = rm.planned
    resumed = RunDirectory(sweep / "cnn1")

    def and_resume(folders: object) -> rm.Plan:
        found = plan(folders)
        record = json.loads((resumed.path / "run.json").read_text())
        resumed.write_run(record | {"status": "running"})
        return found

    monkeypatch.setattr(rm, "planned", and_resume)
    with locked(sweep / "ffn0", wait=False):
        assert cli("rm", sweep, "--yes") == 0
    assert "freed 4.0 kB" in capsys.readouterr().out
    for job in ("cnn1", "ffn0"):
        assert len(RunDirectory(sweep / job).checkpoint_files()) == 2


def test_rm_of_no_run(cli: Cli, tmp_path: Path, capsys) -> None:
    assert cli("rm", tmp_path, "--yes") == 1
    assert "holds no runs" in capsys.readouterr().err
