"""examples/own_project: a model, dataset, loss, callback and figure outside the package."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dermaexp.runs.directory import RunDirectory

PROJECT = Path(__file__).resolve().parents[1] / "examples" / "own_project"


@pytest.fixture
def run(cli: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Give its command; the current folder is then in sys.path."""
    monkeypatch.syspath_prepend(str(PROJECT))
    words = ["--config-dir", str(PROJECT / "conf"), "experiment=shapes", "trainer=debug"]
    return lambda *options: cli(*words, "callbacks.montage=null", "hydra.run.dir=run", *options)


def test_the_parts_are_short() -> None:
    files = [file for file in PROJECT.rglob("*") if file.suffix in (".py", ".yaml", ".md")]
    assert len(files) == 13
    assert max(len(file.read_text("utf-8").splitlines()) for file in files) < 40


@pytest.mark.slow
def test_it_runs_and_is_regenerated(
    run: Callable[..., int], cli: Callable[..., int], tmp_path: Path
) -> None:
    assert run("loss.q=1", "model.width=4") == 0
    directory = RunDirectory(tmp_path / "run")
    metrics = directory.read_metrics()
    assert metrics["data"]["classes"] == ["disc", "ring"]
    assert directory.read_run()["config"]["model"]["width"] == 4
    state = torch.load(directory.last_checkpoint, weights_only=True)["state_dict"]
    norm = sum(float(v.square().sum()) for k, v in state.items() if k.startswith("net.")) ** 0.5
    rows = list(csv.DictReader((directory.path / "weight_norm.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[-1]["norm"]) == pytest.approx(norm, abs=1e-4)
    losses = [row["train_loss"] for row in directory.read_history()]
    assert losses == pytest.approx([0.5, 0.5], abs=0.02), "1 - p of two classes, not -log(p)"
    figure = directory.figures / "confidence.png"
    drawn = figure.read_bytes()
    figure.unlink()
    assert cli("report", "run") == 0
    assert figure.read_bytes() == drawn
    assert "confidence</figcaption>" in directory.report.read_text("utf-8")


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("callbacks.confidence.figure=own.figure.nothing", "own.figure.nothing cannot be imported"),
        ("+callbacks.confidence.colour=red", "confidence does not take these keys"),
        ("callbacks.confidence.figure=own.montage", "would overwrite the figure montage"),
    ],
)
def test_mistakes_in_a_figure_are_one_line(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str], option: str, line: str
) -> None:
    assert run(option) == 1
    assert line in capsys.readouterr().err
