"""The figures and pages of a sweep's jobs, made by another process (here: a stand-in)."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from helpers import make_run
from joblib.externals import loky
from matplotlib.figure import Figure
from omegaconf import OmegaConf

from dermaexp.launch import beside
from dermaexp.report import waiting
from dermaexp.report.regenerate import CALLBACK
from dermaexp.runs.directory import FIGURES, RunDirectory


class Pool:
    """Makes a work in this process when its result is asked for, from what was sent."""

    sent: ClassVar[list[tuple[Any, ...]]] = []
    fails = False

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def submit(self, work: Callable[..., Any], *given: Any) -> Future:
        made: Future = Future()
        if given:
            work, given = pickle.loads(pickle.dumps((work, given)))
            Pool.sent.append(given)
        if Pool.fails:
            made.set_exception(OSError("killed"))
        else:
            made.set_result(work(*given))
        return made

    def shutdown(self, *, kill_workers: bool) -> None:
        assert kill_workers


@pytest.fixture(autouse=True)
def pool(monkeypatch: pytest.MonkeyPatch) -> type[Pool]:
    monkeypatch.setattr(loky, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(Pool, "fails", False)
    Pool.sent.clear()
    return Pool


@pytest.fixture
def sweep(cli: Callable[..., int], data_file: Path, tmp_path: Path) -> Callable[..., list[Path]]:
    def run(*arguments: str) -> list[Path]:
        options = ("dataset=npz", f"dataset.path={data_file}", "trainer=debug", "model=ffn")
        assert cli("-m", *options, "seed=0,1", "hydra.sweep.dir=sweep", *arguments) == 0
        return sorted(file.parent for file in (tmp_path / "sweep").glob("*/run.json"))

    return run


@pytest.mark.slow
@pytest.mark.usefixtures("tables_only")
def test_jobs_leave_their_figures_and_pages(sweep, pool: type[Pool]) -> None:
    runs = sweep()
    assert [run for run, _ in pool.sent] == runs
    for run, figures in pool.sent:
        assert {name for name, _ in figures} == set(FIGURES)
        assert {file.stem for file in (run / "figures").iterdir()} == set(FIGURES)
        page = (run / "report.html").read_text()
        assert page.count("data:image/png") == len(FIGURES)
        assert "finished" in page
    first = runs[0]
    pictures = {file.name: file.read_bytes() for file in (first / "figures").iterdir()}
    shutil.rmtree(first / "figures")  # as if all had been killed before they were written
    (first / "report.html").unlink()
    pool.sent.clear()
    sweep()
    assert not pool.sent
    assert {file.name: file.read_bytes() for file in (first / "figures").iterdir()} == pictures
    assert (first / "report.html").read_text().count("data:image/png") == len(FIGURES)


LEFT = {
    "hydra": {part: {"_target_": f"x.Basic{part.title()}"} for part in ("launcher", "sweeper")},
    "callbacks": {"montage": {"_target_": CALLBACK, "figure": "montage"}},
    "logger": {},
    "report": True,
    "sweep": {"stop_on_failure": False},
}
KEPT = {
    "hydra.launcher._target_": "x.JoblibLauncher",
    "hydra.sweeper._target_": "x.SearchSweeper",
    "callbacks.montage": None,
    "logger.csv": "x.CSVLogger",
    "report": False,
    "sweep.stop_on_failure": True,
}


@pytest.mark.parametrize("key", [None, *KEPT])
def test_which_jobs_leave_their_figures(key: str | None, tmp_path: Path) -> None:
    config = OmegaConf.create(LEFT)
    if key:
        OmegaConf.update(config, key, KEPT[key])
    job = SimpleNamespace(config=config, directory=RunDirectory(tmp_path))
    with beside.pages_made_beside(config):
        assert (beside.process_for(job) is not None) == (key is None)
    assert beside.process_for(job) is None


def test_what_the_other_process_does_not_make_is_made_here(tmp_path: Path, pool) -> None:
    pool.fails = True
    run = make_run(tmp_path)
    other = beside.Beside()
    other.start()
    other.finish(run.path, [("own", partial(Figure, (1, 1)))])
    assert not run.has_report()
    other.close()
    assert (run.figures / "own.png").exists()
    assert run.has_report()


def broken() -> Figure:
    raise ValueError("no ink")


def test_a_run_whose_figures_fail_has_failed(tmp_path: Path, pool, capsys) -> None:
    pool.fails = True
    run = make_run(tmp_path)
    other = beside.Beside()
    other.finish(run.path, [("own", broken)])
    other.close()
    record = RunDirectory(tmp_path).read_run()
    assert record["status"] == "failed"
    assert str(record["error"]).startswith("ValueError: no ink")
    assert f"the figures of {tmp_path} failed: ValueError: no ink" in " ".join(
        capsys.readouterr().err.split()
    )
    assert not run.has_report()


def test_a_page_that_fails_is_named(tmp_path: Path, pool, capsys, monkeypatch) -> None:
    pool.fails = True
    run = make_run(tmp_path)
    monkeypatch.setattr(waiting, "write_with_page", lambda *_: broken())
    other = beside.Beside()
    other.finish(run.path, [])
    other.close()
    assert f"the page of {tmp_path} failed: ValueError: no ink" in " ".join(
        capsys.readouterr().err.split()
    )
    assert run.read_run()["status"] == "finished"
