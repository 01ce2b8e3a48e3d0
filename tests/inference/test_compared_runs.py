"""Sweeps and comparisons from Python: raw numbers, and a process that stays as it was."""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

import pytest
from helpers import NO_FIGURES, make_sweep, overridden
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.version import getbase

import dermaexp
from dermaexp.core.errors import UserError
from dermaexp.launch.config_folder import config_folder


@pytest.fixture
def words(data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A small sweep, without its keys that vary."""
    monkeypatch.chdir(tmp_path)
    data = ["dataset=npz", f"dataset.path={data_file}", "epochs=1", "trainer=cpu", "report=false"]
    return ["model=ffn", "name=tiny", *data, *NO_FIGURES]


@pytest.mark.slow
@pytest.mark.usefixtures("tables_only")
def test_a_sweep_in_a_hydra_app_of_ones_own(words: list[str], tmp_path: Path) -> None:
    with initialize_config_dir(str(config_folder()), version_base="1.2"):
        before = Path.cwd(), dict(os.environ), sys.argv, GlobalHydra.instance().hydra, getbase()
        swept = dermaexp.sweep([*words, "optimizer.lr=1e-3,1e-2"])
        again = dermaexp.sweep(["-m", *words, "optimizer.lr=1e-3,1e-2"])
        assert (
            Path.cwd(), dict(os.environ), sys.argv, GlobalHydra.instance().hydra, getbase()
        ) == before  # fmt: skip
        assert compose("config", ["seed=3"]).seed == 3
    assert swept.path == again.path == tmp_path / "multirun" / "tiny"
    assert swept.leaderboard.equals(again.leaderboard), "the finished jobs were not run again"
    board = swept.leaderboard
    assert sorted(board["optimizer.lr"].dropna()) == [0.001, 0.01]
    scores = sorted(run.metrics["test"]["accuracy"] for run in swept.runs)
    assert sorted(board["test_accuracy"][:2]) == scores == sorted(swept.table["test_accuracy"])
    written = list(csv.DictReader((swept.path / "leaderboard.csv").open()))
    assert list(board.columns) == list(written[0])
    assert board["p_accuracy"][1] == float(written[1]["p_accuracy"])
    page = swept._repr_html_()
    assert "Leaderboard on small" in page
    assert "<td>1</td>" in page, "ranks are whole numbers"
    assert "2 runs compared, 0 left out" in page
    assert "2 runs compared" in repr(swept)


@pytest.mark.slow
@pytest.mark.usefixtures("tables_only")
def test_failed_jobs(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    swept = dermaexp.sweep([*words, "loss=weighted", "loss.weights=[1,1,1],[1,1]"])
    assert list(swept.table["status"]) == ["finished", "failed"]
    assert "weights" in swept.table["error"][1]
    assert len(swept.runs) == 1
    assert "1 of the sweep's jobs did not finish" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"no job of the sweep in .*weights"):
        dermaexp.sweep(overridden(words, "name=bad", "loss=weighted", "loss.weights=[1,1]"))
    with pytest.raises(UserError, match="did you mean 'model'"):
        dermaexp.sweep(["modle=cnn,ffn"])


def test_runs_of_several_folders(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path / "sweep")
    folders = [sweep / "cnn0", sweep]
    found = dermaexp.load_runs(folders)
    assert found.errors == {"bad": "the <disk> is full"}
    board = found.leaderboard.set_index("model")
    assert list(board.index[:3]) == ["cnn", "ffn", "mlp"]
    assert board["val_macro_auroc"]["cnn"] == pytest.approx(0.85)
    assert board["val_macro_auroc_sd"]["cnn"] == pytest.approx(0.005**0.5)
    assert list(found.table["status"]).count("finished") == 5
    with pytest.raises(UserError, match="is not a folder"):
        dermaexp.load_runs([tmp_path / "nowhere"])
