"""Figures regenerated from the run directory: the same bytes, or a line that says why not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import exit_code
from omegaconf import OmegaConf

from dermaexp.core.errors import UserError
from dermaexp.data import load
from dermaexp.report import figures, page
from dermaexp.report.__main__ import main
from dermaexp.report.callbacks import DrawFigure
from dermaexp.report.regenerate import CALLBACK
from dermaexp.runs.directory import FIGURES

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def train(cli: Callable[..., int], data_file: Path, tmp_path: Path) -> Callable[..., Path]:
    """Train for an epoch on a part of the small file; gives the run directory."""

    def run(*arguments: str, code: int = 0) -> Path:
        options = ["dataset=npz", f"dataset.path={data_file.name}", "trainer=debug", "model=ffn"]
        options += ["dataset.classes=[nevus,melanoma,'$a and $b']", "batch_size=8"]
        assert cli(*options, "hydra.run.dir=run", *arguments) == code
        return tmp_path / "run"

    return run


def pictures(run: Path) -> dict[str, bytes]:
    return {file.stem: file.read_bytes() for file in (run / "figures").glob("*.png")}


@pytest.mark.slow
@pytest.mark.parametrize("grayscale", ["true", "false"])
def test_the_figures_are_those_of_the_run(
    grayscale: str, train: Callable[..., Path], tmp_path: Path
) -> None:
    run = train(
        f"dataset.grayscale={grayscale}",
        "calibrate=true",
        "callbacks.montage.columns=3",
        "callbacks.misclassified.count=4",
        "callbacks.per_class_accuracy=null",
    )
    before = pictures(run)
    assert set(before) == set(FIGURES) - {"per_class_accuracy"}
    shutil.rmtree(run / "figures")
    code = (
        "import sys; from dermaexp.report.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "assert 'torch' not in sys.modules"
    )
    command = [sys.executable, "-c", code, str(run)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()  # the data's path is relative to where the run was started
    answer = subprocess.run(
        command, env=environment, cwd=elsewhere, capture_output=True, text=True, timeout=100
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""
    assert pictures(run) == before


@pytest.mark.slow
def test_what_cannot_be_regenerated_is_left_as_it_was(
    train: Callable[..., Path],
    arrays: dict[str, np.ndarray],
    data_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept = ("montage", "misclassified", "learning_curves", "confusion_matrix")
    run = train(
        *(f"callbacks.{name}=null" for name in FIGURES if name not in kept),
        "trainer.limit_test_batches=null",  # with which a title says how many images there are
    )
    before = pictures(run)

    def regenerated() -> tuple[set[str], str]:
        """Which figures were written again, and what was reported."""
        for file in (run / "figures").glob("*.png"):
            file.write_bytes(before[file.stem] + b"old")
        capsys.readouterr()
        monkeypatch.setattr(load, "_kept", {})  # as in another process
        assert exit_code(monkeypatch, main, run) == 0
        now = pictures(run)
        assert set(now) == set(kept)
        return {name for name in kept if now[name] == before[name]}, capsys.readouterr().err

    assert regenerated() == (set(kept), "")
    np.savez(data_file, **arrays | {"val_labels": arrays["val_labels"][::-1]})
    names, line = regenerated()
    assert names == {"learning_curves", "confusion_matrix"}
    assert line == (
        f"warning: {run}: not regenerated: montage, misclassified: the data have changed since "
        "the run\n"
    )
    data_file.unlink()
    record = json.loads((run / "run.json").read_text())
    del record["start"]  # it is not required
    (run / "run.json").write_text(json.dumps(record))
    names, line = regenerated()
    assert names == {"learning_curves", "confusion_matrix"}
    assert "montage, misclassified: the data cannot be loaded: " in line
    assert line.count("\n") == 1
    (run / "predictions.npz").unlink()
    names, line = regenerated()
    assert names == {"learning_curves"}
    assert "confusion_matrix: the run has no predictions.npz" in line
    (run / "history.csv").unlink()
    names, line = regenerated()
    assert not names
    assert "learning_curves: the run has no history.csv" in line
    before["learning_curves"] = b"a holiday"
    assert "learning_curves: another program wrote that file" in regenerated()[1]
    (run / ".hydra" / "config.yaml").write_text("callbacks: [")
    assert "no figure is regenerated: " in regenerated()[1]
    config = run / ".hydra" / "config.yaml"
    for damaged in ("callbacks: 3", "callbacks: {}", "dataset: {}\ntrainer: 3\ncallbacks: {}"):
        config.write_text(damaged)
        assert f"{config} is damaged: the config group" in regenerated()[1]
    callback = f"{{_target_: {CALLBACK}}}"
    config.write_text(f"dataset: {{}}\ntrainer: {{}}\ncallbacks: {{a: 3, b: {callback}}}")
    assert "the figure None is unknown" in regenerated()[1]
    config.unlink()
    assert "config.yaml is missing" in regenerated()[1]


@pytest.mark.slow
def test_a_run_that_failed_early_has_no_figures(
    train: Callable[..., Path],
    data_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data_file.unlink()
    run = train(code=1)
    capsys.readouterr()
    assert exit_code(monkeypatch, main, run) == 0
    streams = capsys.readouterr()
    assert streams.err == ""
    assert streams.out == f"{run / 'report.html'}\n"


def test_every_figure_has_one_name() -> None:
    assert list(figures.FIGURES) == list(page.CAPTIONS) == list(FIGURES)
    assert f"{DrawFigure.__module__}.{DrawFigure.__qualname__}" == CALLBACK


@pytest.mark.parametrize(
    ("figure", "options", "line"),
    [
        ("montag", {}, "the figure montag is unknown: did you mean 'montage'?"),
        (OmegaConf.create([1]), {}, "the figure [1] is unknown: expected one of"),
        ("montage", {}, "callbacks.montage.columns is missing: expected a whole number from 1"),
        ("montage", {"columns": True}, "callbacks.montage.columns=true: expected a whole number"),
        ("montage", {"columns": 2, "colums": 3}, "no key colums: did you mean 'columns'?"),
        ("roc_curves", {"count": 3}, "callbacks.roc_curves has no key count: it takes none"),
        ("reliability", {"calibrate": 1}, "callbacks.reliability.calibrate=1: expected true or"),
    ],
)
def test_a_figure_takes_its_own_options(figure: str, options: dict, line: str) -> None:
    with pytest.raises(UserError) as error:
        DrawFigure(figure, **options)
    assert line in str(error.value)
