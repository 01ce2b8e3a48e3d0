"""Searches on several machines: one database, no trial run twice, and no password left behind."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from helpers import NO_FIGURES, parsed, write_run
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

optuna = pytest.importorskip("optuna", reason="the search needs pip install 'dermaexp[search]'")

from optuna.distributions import FloatDistribution  # noqa: E402

from dermaexp.core.errors import UserError  # noqa: E402
from dermaexp.launch.search import study  # noqa: E402
from dermaexp.launch.search.database import own_database, shared_database  # noqa: E402
from dermaexp.launch.search.password import stripped  # noqa: E402
from dermaexp.launch.search.plan import Plan  # noqa: E402
from dermaexp.launch.search.study import Limits, Trials, attempts  # noqa: E402

SECRET = "p@ss:w0rd"
SPACE = {"optimizer.lr": FloatDistribution(1e-4, 1e-1, log=True)}
PLAN = Plan([], SPACE, [[]], "seed=0", "d19e57", "Data")
Command = Callable[..., int]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def of_postgresql(name: str) -> str:
    """The path of a program of postgresql, which Debian puts in no PATH."""
    found = [shutil.which(name), *sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))]
    return str(next(filter(None, found), "")) or pytest.skip("needs postgresql")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A PostgreSQL server of this module's own; gives its URL with the password."""
    pytest.importorskip("psycopg", reason="needs pip install 'dermaexp[postgresql]'")
    initdb, pg_ctl = of_postgresql("initdb"), of_postgresql("pg_ctl")
    folder, port = Path(tempfile.mkdtemp(dir="/tmp")), free_port()
    user = "nobody" if os.geteuid() == 0 else None  # it refuses root
    if user:
        shutil.chown(folder, user)

    def run(*words: str) -> None:
        subprocess.run(words, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL)

    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
    (folder / "password").write_text(SECRET)
    try:
        run(initdb, "-D", "data", "-U", "me", "-A", "scram-sha-256", "--pwfile=password", "-N")
        run(pg_ctl, "-D", "data", "-w", "-l", "log", "-o", options, "start")
        yield f"postgresql://me:{SECRET}@127.0.0.1:{port}/postgres"
        run(pg_ctl, "-D", "data", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def start(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Trials]:
    """Start a search as another process would, with a connection of its own."""
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    if request.param == "postgresql":
        url = stripped(request.getfixturevalue("server"))
        monkeypatch.setenv("PGPASSWORD", SECRET)

    def run(n_trials: int, n_jobs: int = 1, plan: Plan = PLAN) -> Trials:
        limits = Limits(n_trials=n_trials, n_jobs=n_jobs, max_retry=1, seed=0)
        return Trials(shared_database(url, tmp_path.name), plan, limits)

    return run


def test_optuna_has_what_its_storage_calls_internal() -> None:
    names = "record_heartbeat get_study_id_from_name get_trial_id_from_study_id_trial_number"
    missing = [name for name in names.split() if not hasattr(optuna.storages.RDBStorage, name)]
    assert not missing, f"RDBStorage of optuna {optuna.__version__} lacks {missing}"


@pytest.mark.slow
def test_searches_at_the_same_time_run_each_trial_once(start: Callable[..., Trials]) -> None:
    ran: list[list[int]] = [[], [], []]
    together = threading.Barrier(len(ran), timeout=60)

    def search(numbers: list[int]) -> None:
        together.wait()
        trials = start(n_trials=7, n_jobs=2)
        batch = trials.batch()
        together.wait()
        while batch:
            for trial in batch:
                numbers.append(trial.number)
                assert trials.end(trial, trial.params["optimizer.lr"], ["here"])
            batch = trials.batch()

    threads = [threading.Thread(target=search, args=[numbers]) for numbers in ran]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(itertools.chain(*ran)) == list(range(7))
    assert sorted(map(len, ran)) == [2, 2, 3]
    found = start(n_trials=7).all()
    assert len({trial.params["optimizer.lr"] for trial in found}) == 7
    assert {trial.state.name for trial in found} == {"COMPLETE"}
    with pytest.raises(UserError, match="a search of another space, in batch_size"):
        start(1, plan=Plan([], {"batch_size": FloatDistribution(0, 1)}, [[]], "", "", ""))


@pytest.mark.slow
def test_only_the_trial_of_a_dead_search_is_run_by_another(
    start: Callable[..., Trials], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "INTERVAL", 1)
    monkeypatch.setattr(study, "GRACE", 3)
    dead, living = start(n_trials=2), start(n_trials=2)
    (lost,), (kept,) = dead.batch(), living.batch()
    with living.beating([kept]):
        third = start(n_trials=2)
        (again,) = third.batch()
        assert again.params == lost.params and attempts(again) == [lost.number]
        assert third.end(again, 0.5, ["elsewhere"])
        assert third.batch() == [], "the other trial is in good hands"
    assert living.end(kept, 0.6, [])
    assert not dead.end(lost, 0.9, []), "too late: it was only asleep"
    assert third.study.best_value == 0.6
    assert [trial.state.name for trial in third.all()] == ["FAIL", "COMPLETE", "COMPLETE"]


@pytest.fixture
def command(cli: Command, data_file: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Start a small search named "shared", or resume it; gives the exit code."""
    monkeypatch.setenv("PGPASSWORD", "")  # a password on the command line ends with the test
    data = ("dataset=npz", f"dataset.path={data_file}", "trainer=cpu")
    small = ("epochs=1", "model=ffn", "model.hidden=[4]", *NO_FIGURES)

    def run(*arguments: str, trials: int = 1) -> int:
        options = ("hparams_search=optuna", f"hydra.sweeper.n_trials={trials}", "name=shared")
        return cli("-m", *options, *data, *small, *arguments)

    return run


@pytest.mark.slow
def test_a_password_is_used_and_recorded_nowhere_and_folders_say_what_ran_elsewhere(
    command: Command, cli: Command, server: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    storage = f"hydra.sweeper.storage={server}"
    assert command(storage, "hydra.sweeper.pruner=median") == 0
    assert command(storage, "hydra.sweep.dir=there") == 0
    url = server.replace("postgresql", "postgresql+psycopg", 1).replace(SECRET, quote(SECRET))
    (trial,) = optuna.load_study(study_name="shared", storage=url).trials
    assert trial.intermediate_values == {1: trial.value}, "its job had the password, too"
    output = capsys.readouterr()
    assert output.out.count("best of 1 trials: val macro AUROC ") == 2
    assert (
        output.out.count(" of trial 0 with ")
        == output.out.count(" of trial 0, which ran elsew")
        == 1
    )
    assert "trial 0, run elsewhere, val macro" in Path("there/experiment/best.yaml").read_text()
    page = parsed(Path("there")).text
    assert "There is no run that can be compared." in page
    assert "Trial 0 ran elsewhere: its runs are not on this page." in page
    here = Path("multirun/shared")
    found = json.loads((here / "search.json").read_text())["trials"]
    assert [(here / run / "run.json").is_file() for trial in found for run in trial["runs"]] == [
        True
    ]

    monkeypatch.setattr(study, "INTERVAL", 1)
    monkeypatch.setattr(study, "GRACE", 3)
    others = of_another_machine(server)
    with others.beating(others.batch()):
        write_run(here / "theirs", status="running")
        assert cli(f"resume={here}") == 0
    assert "trials that other searches still run: 1\n" in capsys.readouterr().out
    assert "1 finished, 1 still running" in parsed(here).text
    for file in filter(Path.is_file, tmp_path.rglob("*")):
        assert SECRET.encode() not in file.read_bytes(), file
    assert SECRET not in "".join([*output, *capsys.readouterr()])


def of_another_machine(server: str) -> Trials:
    """The same search as `command` starts, with one more trial."""
    storage = server.replace("postgresql", "postgresql+psycopg", 1).replace(SECRET, quote(SECRET))
    first = optuna.load_study(study_name="shared", storage=storage)
    space = first.trials[0].distributions
    plan = Plan([], space, [[]], first.user_attrs["places"], first.user_attrs["settings"], "")
    limits = Limits(n_trials=2, n_jobs=1, max_retry=1, seed=0)
    return Trials(shared_database(stripped(server), "shared"), plan, limits)


@pytest.mark.parametrize(
    ("storage", "line"),
    [
        (
            f"postgresql://me:{SECRET}@127.0.0.1:1/d",
            "me@127.0.0.1:1/d cannot be opened (connection",
        ),
        (f"postgresql://me:{SECRET}@127.0.0.1:x/d", "=postgresql://me@127.0.0.1:x/d: expected p"),
        (f"postgresql://me@127.0.0.1:1/d?password={SECRET}", "Connection refused"),
        (
            f"mysql://me:{SECRET}@host/d",
            "=mysql://me@host/d: expected postgresql://USER@HOST/DATAB",
        ),
        (f"postgresql+no_driver://me:{SECRET}@host/d", "=postgresql+no_driver://me@host/d: expect"),
        ("study.db", "=study.db: expected postgresql://USER@HOST/DATABASE or sqlite:///FILE"),
        ("sqlite://", "=sqlite://: expected"),
        ("sqlite:///nowhere/study.db", "=sqlite:///nowhere/study.db: expected"),
        (
            "sqlite:///small.npz",
            "small.npz cannot be opened (file is not a database): the same com",
        ),
    ],
)
def test_storages_that_cannot_be_used(
    command: Command, tmp_path: Path, storage: str, line: str, capsys
) -> None:
    pytest.importorskip("psycopg")
    assert command(f"hydra.sweeper.storage={storage}") == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert line in error and SECRET not in error
    assert not list(tmp_path.rglob("*.yaml")), "nothing is written"


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_without_the_driver(command: Command, monkeypatch, driver: str, capsys) -> None:
    monkeypatch.setitem(sys.modules, driver, None)
    scheme = "postgresql" if driver == "psycopg" else "postgresql+psycopg2"
    assert command(f"hydra.sweeper.storage={scheme}://host/d") == 1
    package = "'dermaexp[postgresql]'" if driver == "psycopg" else driver
    assert capsys.readouterr().err == (
        f"error: hydra.sweeper.storage={scheme}://host/d needs {driver}, which is not installed: "
        f"pip install {package}\n"
    )


def test_a_search_without_a_name_or_with_a_password_in_a_file(
    cli: Command, tmp_path: Path, capsys
) -> None:
    pytest.importorskip("psycopg")
    file = tmp_path / "conf" / "hparams_search" / "mine.yaml"
    file.parent.mkdir(parents=True)
    url = f"postgresql://me:{quote(SECRET)}@host/d"
    sweeper = f"hydra:\n  sweeper:\n    storage: {url}\n"
    file.write_text(f"# @package _global_\ndefaults: [optuna]\n{sweeper}")
    arguments = ("-m", "--config-dir", "conf", "hparams_search=mine")
    assert cli(*arguments) == 1
    assert "holds the studies of many searches: give name=NAME" in capsys.readouterr().err
    assert cli(*arguments, "name=shared") == 1
    error = capsys.readouterr().err
    assert "in a config file holds a password, which every job would record" in error
    assert quote(SECRET) not in error


def test_a_database_that_fails_later() -> None:
    pytest.importorskip("psycopg")
    database = shared_database("postgresql://me@host/d?connect_timeout=1", "shared")
    cause = OperationalError("COMMIT", {}, Exception("server closed the connection\n\tIt may"))
    cause.__cause__ = cause.orig
    with pytest.raises(UserError) as error, database.errors_as_one_line():
        raise optuna.exceptions.StorageInternalError("in the commit") from cause
    assert str(error.value).startswith(
        "the study shared of postgresql://me@host/d cannot be opened (server closed the connection)"
    )


@pytest.mark.slow
def test_a_killed_search_of_its_own_resumes_all_its_trials(tmp_path: Path) -> None:
    """However long ago that was: nobody else can run them."""
    limits = Limits(n_trials=3, n_jobs=2, max_retry=1, seed=0)
    killed = Trials(own_database(tmp_path), PLAN, limits).batch()
    with own_database(tmp_path).engine.begin() as connection:
        connection.execute(text("UPDATE trial_heartbeats SET heartbeat = '2026-01-01 00:00:00.0'"))
    trials = Trials(own_database(tmp_path), PLAN, Limits(n_trials=3, n_jobs=3, max_retry=1, seed=0))
    batch = trials.batch()
    assert [trial.number for trial in batch] == [0, 1, 2]
    assert [trial.params for trial in batch[:2]] == [trial.params for trial in killed]
    assert all(trials.end(trial, 0.5, []) for trial in batch)
