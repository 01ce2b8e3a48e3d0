"""Interrupted runs and sweeps: they go on and end with the numbers of uninterrupted ones."""

from __future__ import annotations

import errno
import itertools
import json
import os
import random
import shlex
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import (
    NO_FIGURES,
    Killed,
    kill_at_write,
    make_run,
    numbers,
    overridden,
    small_arrays,
    started,
)

import dermaexp
from dermaexp.core.overrides import quoted
from dermaexp.data import load
from dermaexp.launch import resume
from dermaexp.runs import provenance
from dermaexp.runs.locks import locked
from dermaexp.training.callbacks import AtomicCheckpointIO

Cli = Callable[..., int]
EPOCHS = 3
RECIPE = [
    "callbacks=[default,ema,early_stopping]",
    "callbacks.early_stopping.patience=1",
    "+callbacks.early_stopping.min_delta=1",  # never good enough: it stops after two epochs
    "epochs=3",
    "augment=strong",
    "augment.erase=0.5",
    "augment.cutmix=0.5",
    "sampler=balanced",
    "test_time_augment=dihedral",
]


def options_with(data_file: Path) -> list[str]:
    return [
        "dataset=npz",
        f"dataset.path={data_file}",
        "trainer=cpu",
        f"epochs={EPOCHS}",
        "batch_size=16",
        "model=ffn",
        "~model.hidden",
        "~model.activation",
        "model._target_=helpers.DropoutNet",
        "scheduler=cosine",
        *NO_FIGURES,
    ]


@pytest.fixture
def options(data_file: Path) -> list[str]:
    return options_with(data_file)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds a finished run "whole", and "killed": the same, after the second of its epochs."""
    folder = tmp_path_factory.mktemp("runs")
    np.savez(folder / "small.npz", **small_arrays())
    options = options_with(folder / "small.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # where a resumed run works again
        dermaexp.run([*options, f"hydra.run.dir={folder / 'whole'}"])
        kill_at_write(9, patch)
        with pytest.raises(Killed):
            dermaexp.run([*options, f"hydra.run.dir={folder / 'killed'}"])
    return folder


@pytest.fixture
def run(runs: Path, tmp_path: Path) -> Path:
    """A finished run of the test's own."""
    return Path(shutil.copytree(runs / "whole", tmp_path / "run"))


LAST_AVERAGE = ["epochs=2", "callbacks=[default,ema]", "checkpoint.test_with=last"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "first"), [(RECIPE, 0), (LAST_AVERAGE, 1)], ids=["recipe", "last average"]
)
def test_killed_at_any_write_it_ends_with_the_same_numbers(
    cli: Cli,
    options: list[str],
    more: list[str],
    first: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One recipe at the even writes, the other at the odd: they write the same files."""
    options = overridden(options, *more)
    assert cli(*options, "hydra.run.dir=whole") == 0
    expected = numbers(tmp_path / "whole")
    for writes in itertools.count(first, 2):
        run = tmp_path / f"killed-{writes}"
        with monkeypatch.context() as patch:
            kill_at_write(writes, patch)
            try:
                assert cli(*options, f"hydra.run.dir={run}") == 0
                break
            except Killed:
                pass
        if not (run / "run.json").exists():
            shutil.rmtree(run)
            assert cli(*options, f"hydra.run.dir={run}") == 0
        else:
            assert json.loads((run / "run.json").read_text())["status"] == "running"
            assert cli(f"resume={run}") == 0
        assert numbers(run) == expected, f"after {writes} writes"
        record = json.loads((run / "run.json").read_text())
        assert record["status"] == "finished"
    assert writes > 10


@pytest.mark.slow
def test_a_moved_run_remembers_its_best_epoch(
    cli: Cli, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = Path(shutil.copytree(runs / "killed", tmp_path / "elsewhere" / "it's moved, here=1"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert cli(f"resume={moved}") == 0
    assert numbers(moved) == numbers(runs / "whole")
    assert json.loads((moved / "metrics.json").read_text())["best_epoch"] == 1
    record = json.loads((moved / "run.json").read_text())
    assert len(record["resumed"]) == 1
    assert f"hydra.run.dir={runs / 'killed'}" in record["command"], "the first one's"


@pytest.mark.slow
def test_a_finished_run_is_left_as_it_is(cli: Cli, run: Path, capsys) -> None:
    before = {file: file.read_bytes() for file in run.glob("*.[jnc]*")}
    assert cli("resume=run") == 0
    assert "finished before: not run again" in capsys.readouterr().out
    assert {file: file.read_bytes() for file in before} == before


@pytest.mark.slow
def test_other_data_are_not_gone_on_with(
    cli: Cli,
    options: list[str],
    arrays: dict[str, np.ndarray],
    data_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys,
) -> None:
    with monkeypatch.context() as patch:
        kill_at_write(9, patch)
        with pytest.raises(Killed):
            cli(*options, "hydra.run.dir=killed")
    checkpoints = tmp_path / "killed" / "checkpoints"
    before = {file: file.read_bytes() for file in checkpoints.iterdir()}
    original = data_file.read_bytes()
    arrays["train_images"][0] += 1
    np.savez(data_file, **arrays)
    load._kept.clear()
    capsys.readouterr()
    assert cli("resume=killed") == 1
    errors = capsys.readouterr().err
    assert "killed was trained on other data than there are now" in errors
    assert errors.count("\n") == 1
    assert {file: file.read_bytes() for file in checkpoints.iterdir()} == before
    data_file.write_bytes(original)
    load._kept.clear()
    assert cli("resume=killed") == 0
    assert cli(*options, "hydra.run.dir=whole") == 0
    assert numbers(tmp_path / "killed") == numbers(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code_changed", "seeds_epoch"), [(False, [2, 3]), (True, [1, 2, 3])], ids=["same", "changed"]
)
def test_a_failed_run_is_retried(
    cli: Cli,
    options: list[str],
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys,
    code_changed: bool,
    seeds_epoch: list[int],
) -> None:
    """From its last epoch, or from the start where changed code may have mended the failure."""
    with monkeypatch.context() as patch:
        patch.setattr(
            "dermaexp.training.callbacks.AtomicCheckpointIO.save_checkpoint", full_after(2)
        )
        assert cli(*options, "hydra.run.dir=run") == 1
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"] == "failed"
    assert "the disk is full" in record["error"]
    if code_changed:
        other = {"git_commit": None, "code_digest": "other"}
        monkeypatch.setattr(provenance, "_code", lambda: other)
    capsys.readouterr()
    assert cli("resume=run") == 0
    output = capsys.readouterr().out
    assert ("the code has changed since this run failed" in output) == code_changed
    assert [n for n in range(1, EPOCHS + 1) if f"epoch {n}/" in output] == seeds_epoch
    assert numbers(tmp_path / "run") == numbers(runs / "whole")


def full_after(saves: int) -> Callable[..., None]:
    save = AtomicCheckpointIO.save_checkpoint
    left = [saves]

    def failing(self: AtomicCheckpointIO, checkpoint: dict, path: str, **_: object) -> None:
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device", path)
        left[0] -= 1
        save(self, checkpoint, path)

    return failing


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["resume=nowhere"], "nowhere cannot be resumed: expected a run directory"),
        (
            ["resume=run", "seed=1"],
            "resumes a run with its own config: expected no seed=1",
        ),
        (["resume=run", "resume=run"], "resumes a run with its own config: expected no resume=run"),
        (["resume="], "resume= names no folder: expected a run directory or a sweep's"),
        (["resume=damaged"], "multirun.yaml is damaged: give the first command again"),
    ],
)
def test_what_cannot_be_gone_on_with(
    cli: Cli, tmp_path: Path, capsys, arguments: list[str], line: str
) -> None:
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "multirun.yaml").write_text("hydra: {runtime")
    assert cli(*arguments) == 1
    errors = capsys.readouterr().err
    assert line in errors
    assert errors.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["metrics.json", "predictions.npz"])
@pytest.mark.parametrize("half", [True, False], ids=["half", "none"])
def test_lost_results_are_regenerated_without_training(
    cli: Cli, run: Path, capsys, lost: str, half: bool
) -> None:
    expected = numbers(run)
    file = run / lost
    content = file.read_bytes()
    file.unlink()
    if half:
        file.write_bytes(content[: len(content) // 2])
    assert cli("resume='run'") == 0
    assert "epoch 1/" not in capsys.readouterr().out
    assert numbers(run) == expected


@pytest.mark.slow
def test_a_damaged_record_is_reported(cli: Cli, run: Path, capsys) -> None:
    record = run / "run.json"
    record.write_bytes(record.read_bytes()[:500])
    assert cli("resume=run") == 1
    errors = capsys.readouterr().err
    assert f"{record} is damaged: move the folder" in errors
    assert errors.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
def test_a_damaged_checkpoint_is_reported(
    cli: Cli, runs: Path, tmp_path: Path, capsys, name: str
) -> None:
    run = Path(shutil.copytree(runs / "killed", tmp_path / "run"))
    checkpoints = run / "checkpoints"
    damaged = checkpoints / name
    damaged.write_bytes(damaged.read_bytes()[:1000] if name == "best.ckpt" else b"bad\n")
    assert cli(f"resume={run}") == 1
    output = capsys.readouterr()
    advice = f"delete {checkpoints}, and the run starts anew"
    assert output.err == f"error: {damaged} is damaged: {advice}\n"
    assert "epoch 3/" not in output.out, "reported before the training goes on"
    shutil.rmtree(checkpoints)
    assert cli(f"resume={run}") == 0
    assert "it starts anew" in capsys.readouterr().out
    assert numbers(run) == numbers(runs / "whole")


FILES = ("checkpoints/mine.pt", "figures/paper.png", "history.csv", ".hydra/config.yaml", ".lock")


@pytest.mark.parametrize(
    ("command", "kept"),
    [*(("run", name) for name in FILES), *(("resume", name) for name in FILES[:-1])],
)
def test_files_of_others_are_neither_removed_nor_overwritten(
    cli: Cli, options: list[str], tmp_path: Path, capsys, kept: str, command: str
) -> None:
    file = tmp_path / "own" / kept
    file.parent.mkdir(parents=True)
    file.write_text("precious")
    if command == "resume":  # a folder of another program that uses Hydra
        (tmp_path / "own" / ".hydra").mkdir(exist_ok=True)
        (tmp_path / "own" / ".hydra" / "hydra.yaml").write_text("hydra: {job: {name: other}}")
    before = {file: file.read_bytes() for file in (tmp_path / "own").rglob("*") if file.is_file()}
    folder = f"{tmp_path / 'own'}"
    arguments = (
        [f"resume={folder}"] if command == "resume" else [*options, f"hydra.run.dir={folder}"]
    )
    assert cli(*arguments) == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and folder in errors
    after = {file: file.read_bytes() for file in (tmp_path / "own").rglob("*") if file.is_file()}
    assert after == before


def test_a_link_that_leads_nowhere_is_a_file_of_others(
    cli: Cli, options: list[str], tmp_path: Path
) -> None:
    (tmp_path / "own").mkdir()
    link = tmp_path / "own" / "metrics.json"
    link.symlink_to(tmp_path / "nowhere")
    assert cli(*options, "hydra.run.dir=own") == 1
    assert link.is_symlink()


@pytest.mark.slow
def test_a_second_run_in_a_runs_folder_changes_nothing(
    cli: Cli, options: list[str], run: Path, capsys
) -> None:
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    assert cli(*options, "hydra.run.dir=run", "seed=1") == 1
    assert "holds a run already: give another folder, or resume" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in before} == before, "Hydra's record of it neither"


@pytest.mark.slow
def test_a_run_that_starts_anew_keeps_the_users_files(cli: Cli, run: Path) -> None:
    """Beside its own in checkpoints/ and figures/, and with another run.json than ours nothing."""
    mine = [run / "checkpoints" / "mine.pt", run / "figures" / "paper.png"]
    for file in mine:
        file.parent.mkdir(exist_ok=True)
        file.write_text("precious")
    (run / "checkpoints" / "last.ckpt").unlink()
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"status": "failed"}))
    assert cli(f"resume={run}") == 0
    assert [file.read_text() for file in mine] == ["precious", "precious"]
    for name in ("report.html", "figures/montage.png"):
        (run / name).write_text("mine")
        (run / "metrics.json").unlink(missing_ok=True)
        assert cli(f"resume={run}") == 1, "what is called like ours is not ours"
        assert (run / name).read_text() == "mine"
        (run / name).unlink()
    assert cli(f"resume={run}") == 0
    (run / "run.json").write_text('{"id": 3}')
    assert cli(f"resume={run}") == 1
    assert (run / "run.json").read_text() == '{"id": 3}'
    assert (run / "metrics.json").exists()


def test_what_the_command_gives_takes_the_place_of_what_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line that is printed can be pasted: it gives no key twice."""
    monkeypatch.chdir(tmp_path)
    given = ["epochs=3", "trainer.devices=2", "model=ffn", "epochs=5"]  # before a check of keys
    make_run(tmp_path / "run", start={"folder": str(tmp_path), "arguments": given})
    folders = [f'hydra.run.dir="{tmp_path}/run"', f'resume="{tmp_path}/run"']
    words = ["resume=run", "trainer.devices=1", "epochs=9"]
    assert resume.expanded(words) == ["model=ffn", *words[1:], *folders]
    assert resume.expanded(words[:1]) == [*given, *folders]


@pytest.mark.slow
def test_a_missing_or_older_page_is_written(cli: Cli, runs: Path, tmp_path: Path) -> None:
    run, copy = runs / "whole", tmp_path / "copied run, it's $HOME"  # with report=false
    shutil.copytree(run, copy)
    expected = numbers(run)
    record = json.loads((copy / "run.json").read_text())
    start = record["start"]["arguments"]
    start[start.index("report=false")] = "report=true"
    (copy / "run.json").write_text(json.dumps(record))
    assert cli(f"resume={copy}") == 0
    page = copy / "report.html"
    assert "finished" in page.read_text()
    page.write_text(page.read_text().replace("finished", "running"))  # as of a look meanwhile
    os.utime(page, ns=(0, 0))
    assert cli(f"resume={copy}") == 0
    assert "finished" in page.read_text()
    assert numbers(copy) == expected
    assert not (run / "report.html").exists()


@pytest.mark.slow
def test_a_run_is_resumed_from_its_run_json(
    cli: Cli, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """Hydra need not have left a record; what runs again is printed before, ready to paste."""
    name = "名" * 99 + "=,$ #"
    more = ["hydra.output_subdir=null", f"name={quoted(name)}"]
    with monkeypatch.context() as patch:
        kill_at_write(9, patch)
        with pytest.raises(Killed):
            cli(*options, *more)
    (run,) = tmp_path.glob("outputs/*/*")
    assert len(run.name.encode()) < 255 and not (run / ".hydra").exists()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    capsys.readouterr()
    assert cli(f"resume={run}") == 0
    shown = capsys.readouterr().out.splitlines()[0]
    assert shown.startswith(f"resume={run} runs again: cd {tmp_path} && python -m dermaexp ")
    record = json.loads((run / "run.json").read_text())
    assert (record["status"], record["name"]) == ("finished", name)
    assert len(record["resumed"]) == 1
    typed = shlex.split(shown.partition("&& python -m dermaexp ")[2])
    monkeypatch.chdir(tmp_path)
    assert cli(*typed, "hydra.run.dir=pasted") == 0
    assert numbers(tmp_path / "pasted") == numbers(run)
    assert json.loads((tmp_path / "pasted" / "run.json").read_text())["name"] == name
    assert cli(*shlex.split(record["command"])[3:], "hydra.run.dir=again") == 0
    assert numbers(tmp_path / "again") == numbers(run)


def test_a_running_run_is_not_gone_on_with(cli: Cli, tmp_path: Path, capsys) -> None:
    (tmp_path / "run").mkdir()
    with locked(tmp_path / "run", wait=False):
        assert cli("trainer=cpu", "hydra.run.dir=run") == 1
    assert "another process is at work in" in capsys.readouterr().err


GRID = ("model=ffn,cnn", "seed=0,1,2")


def finished_jobs(sweep: Path) -> dict[str, int]:
    """Folder -> when its run.json was written last, in ns."""
    files = list(sweep.glob("*/run.json"))
    finished = [file for file in files if json.loads(file.read_text())["status"] == "finished"]
    return {file.parent.name: file.stat().st_mtime_ns for file in finished}


@pytest.mark.slow
@pytest.mark.usefixtures("tables_only")
def test_a_sweep_killed_twice_equals_one_never_killed(
    cli: Cli, data_file: Path, tmp_path: Path
) -> None:
    sweep = ["-m", *GRID, "name=study", "dataset=npz", f"dataset.path={data_file}", "epochs=3"]
    sweep += NO_FIGURES
    whole, killed = tmp_path / "whole", tmp_path / "multirun" / "study"
    assert cli(*sweep, f"hydra.sweep.dir={whole}") == 0
    chance = random.Random(20)
    finished: dict[str, int] = {}
    for kill in range(2):
        process = started(tmp_path, *sweep)
        goal = 1 + 2 * kill + chance.randrange(2)  # jobs
        while len(finished_jobs(killed)) < goal and process.is_alive():
            time.sleep(0.02)
        time.sleep(chance.random() * 0.3)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, "it was still at work"
        assert finished.items() <= finished_jobs(killed).items(), "finished jobs are left alone"
        finished = finished_jobs(killed)
    assert cli(*sweep) == 0
    assert finished.items() <= finished_jobs(killed).items()
    names = finished_jobs(killed).keys()
    assert len(names) == 6
    assert names == finished_jobs(whole).keys()
    for name in names:
        assert numbers(killed / name) == numbers(whole / name)
