"""The search for hyper-parameters: its trials, its interruptions, and what it refuses."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import NO_FIGURES
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig
from test_resume import Killed, kill_at_write

from dermaexp.errors import UserError
from dermaexp.results import RunDirectory

optuna = pytest.importorskip("optuna", reason="the search needs pip install 'dermaexp[search]'")

from optuna.distributions import (  # noqa: E402
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from dermaexp.search_space import distribution  # noqa: E402

SPACE = ("optimizer.lr=tag(log,interval(1e-4,1e-1))", "batch_size=choice(16,32)")
FOLDER = Path("multirun", "study")
Search = Callable[..., int]


@pytest.fixture
def search(cli: Callable[..., int], data_file: Path) -> Search:
    """Start a small search, or go on with it; gives the exit code."""
    data = ("dataset=npz", f"dataset.path={data_file}", "trainer=cpu")
    small = ("epochs=1", "model=ffn", "model.hidden=[4]", *NO_FIGURES)

    def run(*arguments: str, trials: int = 3, name: str = "study") -> int:
        options = ("hparams_search=optuna", f"hydra.sweeper.n_trials={trials}", f"name={name}")
        return cli("-m", *options, *data, *small, *SPACE, *arguments)

    return run


@pytest.fixture
def objective(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Jobs score a formula at once instead of training; gives the learning rates tried."""
    tried = []

    def run_job(config: DictConfig) -> float:
        tried.append(config.optimizer.lr)
        return 1 - abs(math.log10(config.optimizer.lr) + 2) / 4 - config.batch_size / 1000

    monkeypatch.setattr("dermaexp.job.run_job", run_job)
    monkeypatch.setattr("dermaexp.compare.compare", lambda folder: 0)
    return tried


def trials(folder: Path = FOLDER) -> list[tuple[str, dict, float | None]]:
    url = f"sqlite:///{folder / 'study.db'}"
    study = optuna.load_study(study_name="search", storage=url)
    return [(trial.state.name, trial.params, trial.value) for trial in study.trials]


def jobs(folder: Path = FOLDER) -> Iterator[tuple[RunDirectory, list[str]]]:
    for file in folder.glob("*/run.json"):
        yield RunDirectory(file.parent), json.loads(file.read_text())["overrides"]


def test_each_trial_is_a_job_with_its_val_score(search: Search, capsys) -> None:
    assert search() == 0
    found = trials()
    assert [state for state, _, _ in found] == ["COMPLETE"] * 3
    scores = {}
    for directory, overrides in jobs():
        varied = frozenset(overrides[-2:])
        scores[varied] = directory.read_metrics()["val"]["macro_auroc"]
        names = directory.path.name.rpartition("-")[0].split(",")
        assert varied == set(names), "the folder is named by what varies"
    given = {frozenset(f"{k}={v}" for k, v in params.items()): score for _, params, score in found}
    assert given == scores
    output = capsys.readouterr()
    _, params, score = max(found, key=lambda trial: trial[2])
    line = f"optimizer.lr={params['optimizer.lr']} batch_size={params['batch_size']}"
    assert f"best of 3 trials: val macro AUROC {score:.4f} of trial " in output.out
    assert f" with {line}\n" in output.out
    assert output.err == "", "Optuna says nothing of its own"
    assert len(list(csv.reader((FOLDER / "runs.csv").open()))) == 1 + 3


def test_a_killed_search_equals_one_that_was_not(
    search: Search, objective: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each step of a trial, also after the sampler's random start of ten trials."""
    count = 13
    assert search(trials=count, name="whole") == 0
    expected = trials(Path("multirun/whole"))
    assert len({params["optimizer.lr"] for _, params, _ in expected}) == count
    for call, target, before in [
        (2, "optuna.Study.add_trial", True),
        (3, "optuna.Study.add_trial", False),
        (3, "dermaexp.job.run_job", True),
        (4, "optuna.Study.tell", True),
        (4, "optuna.Study.tell", False),
    ]:
        with monkeypatch.context() as patch:
            kill_at_call(call, target, before, patch)
            with pytest.raises(Killed):
                search(trials=count)
        assert len(trials()) < count
    assert search(trials=count) == 0
    assert trials() == expected


def kill_at_call(number: int, target: str, before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill the process when `target` is called for the last of `number` times."""
    owner, _, name = target.rpartition(".")
    owner = optuna.Study if owner == "optuna.Study" else sys.modules[owner]
    function = getattr(owner, name)
    left = [number]

    def killing(*arguments: object, **named: object) -> object:
        left[0] -= 1
        if not left[0] and before:
            raise Killed
        result = function(*arguments, **named)
        if not left[0]:
            raise Killed
        return result

    # Optuna's sampler has studies of its own: only what is stored counts.
    def counted(study: object, *arguments: object, **named: object) -> object:
        stored = not isinstance(getattr(study, "_storage", None), optuna.storages.InMemoryStorage)
        return (killing if stored else function)(study, *arguments, **named)

    monkeypatch.setattr(owner, name, counted)


def test_a_killed_trial_goes_on_from_its_checkpoint(
    search: Search, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    assert search("epochs=2", trials=2, name="whole") == 0
    with monkeypatch.context() as patch:
        kill_at_write(7, patch)  # after the first epoch
        with pytest.raises(Killed):
            search("epochs=2", trials=2)
    ((state, params, _),) = trials()
    assert state == "RUNNING"
    capsys.readouterr()
    assert search("epochs=2", trials=2) == 0
    output = capsys.readouterr().out
    assert output.count("epoch 1/2") == 1 and output.count("epoch 2/2") == 2
    assert trials() == trials(Path("multirun/whole"))
    assert trials()[0][1] == params


def test_resume_goes_on_with_a_search_or_one_of_its_runs(
    cli: Callable[..., int], search: Search, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    assert search(name="whole") == 0
    with monkeypatch.context() as patch:
        kill_at_write(3, patch)
        with pytest.raises(Killed):
            search()
    ((directory, _),) = jobs()
    assert cli(f"resume={directory.path}") == 0
    assert directory.read_run()["status"] == "finished"
    capsys.readouterr()
    moved = FOLDER.rename("it's moved, here=1 #2")
    assert cli(f"resume={moved}") == 0
    assert capsys.readouterr().out.count("finished before: not run again") == 1
    assert trials(moved) == trials(Path("multirun/whole"))


def test_more_trials_later(search: Search, objective: list[float]) -> None:
    assert search(trials=3, name="whole") == 0
    assert search(trials=1) == 0
    del objective[:]
    assert search(trials=3) == 0
    assert len(objective) == 2
    assert trials() == trials(Path("multirun/whole"))
    assert search(trials=3) == search(trials=1) == 0
    assert len(objective) == 2, "enough of them finished"


def test_a_failed_trial_counts_and_is_tried_again_by_the_next_start(
    search: Search, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    from dermaexp import experiment

    run, calls = experiment.run, []

    def failing(*arguments: object, **named: object) -> float:
        calls.append(arguments)
        if len(calls) == 2:
            raise UserError("out of luck")
        return run(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr("dermaexp.experiment.run", failing)
        assert search() == 1
    assert [state for state, _, _ in trials()] == ["COMPLETE", "FAIL", "COMPLETE"]
    output = capsys.readouterr()
    assert "job 1 failed: out of luck" in output.err
    assert "best of 2 trials" in output.out
    assert search() == search() == 0
    states, params, _ = zip(*trials(), strict=True)
    assert states == ("COMPLETE", "FAIL", "COMPLETE", "COMPLETE")
    assert params[3] == params[1]
    assert len(list(jobs())) == 3
    assert "best of 3 trials" in capsys.readouterr().out


def test_what_was_tried_before_is_not_run_again(search: Search, capsys) -> None:
    assert search("optimizer.lr=1e-2", trials=5) == 0
    assert len(trials()) == 5
    assert len(list(jobs())) == 2
    assert capsys.readouterr().out.count("finished before: not run again") == 3


def test_several_jobs_at_once(
    search: Search, objective: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hydra._internal.core_plugins.basic_launcher import BasicLauncher

    launch, batches = BasicLauncher.launch, []

    def counting(self: BasicLauncher, jobs: list, initial_job_idx: int) -> object:
        batches.append((initial_job_idx, len(jobs)))
        return launch(self, jobs, initial_job_idx)

    monkeypatch.setattr(BasicLauncher, "launch", counting)
    assert search("hydra.sweeper.n_jobs=2", trials=5) == 0
    assert batches == [(0, 2), (2, 2), (4, 1)]
    assert {state for state, _, _ in trials()} == {"COMPLETE"}


def test_the_configs_space_and_the_command_lines(
    search: Search, objective: list[float], capsys
) -> None:
    assert search("optimizer=sgd,adam", "optimizer.momentum=0.5", trials=1) == 1
    assert "the key optimizer.momentum is unknown" in capsys.readouterr().err, (
        "of one of the options"
    )
    assert not (FOLDER / "study.db").exists()
    assert search("batch_size=16", "model.hidden=[4],[8,8]", trials=1) == 0
    ((_, params, _),) = trials()
    assert params.keys() == {"optimizer.lr", "model.hidden"}
    assert params["model.hidden"] in ("[4]", "[8,8]")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("interval(0.5,2)", FloatDistribution(0.5, 2)),
        ("tag(log,interval(1e-4,1e-2))", FloatDistribution(1e-4, 1e-2, log=True)),
        ("tag(log,int(interval(4,64)))", IntDistribution(4, 64, log=True)),
        ("range(1,5)", IntDistribution(1, 4)),
        ("range(9,2,-3)", IntDistribution(3, 9, step=3)),
        ("range(0.1,0.5,0.1)", FloatDistribution(0.1, 0.4, step=0.1)),
        ("choice(1,a,'b c',[4,8])", CategoricalDistribution(["1", "a", r"b\ c", "[4,8]"])),
        ("adam,sgd", CategoricalDistribution(["adam", "sgd"])),
    ],
)
@pytest.mark.filterwarnings("error")
def test_hydras_sweeps_as_distributions(text: str, expected: object) -> None:
    assert distribution(OverridesParser.create().parse_override(f"key={text}")) == expected


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials=0: expected a whole number from 1"),
        (["hydra.sweeper.n_trials=x"], "hydra.sweeper.n_trials=x: expected a whole number from 1"),
        (["hydra.sweeper.n_jobs=0"], "hydra.sweeper.n_jobs=0: expected a whole number from 1"),
        (["hydra.sweeper.seed=-1"], "hydra.sweeper.seed=-1: expected a whole number from 0"),
        (["hydra.sweeper.space=null"], "the search's space is empty: give KEY=interval(LOW,HIGH)"),
        (
            ["+hydra.sweeper.space.epochs='uniform(1,2)'"],
            "epochs=uniform(1,2) cannot be searched (Unknown function 'uniform'): expected choice(",
        ),
        (["+hydra.sweeper.space.epochs=3"], "epochs=3 cannot be searched (it is one value)"),
        (["+hydra.sweeper.space.name='a,b'"], "name=a,b cannot be searched (the name is that of"),
        (["+hydra.sweeper.space.epoch='2,3'"], "the key epoch is unknown: did you mean 'epochs'?"),
        (["epochs=interval(2,1)"], "epochs=interval(2,1) cannot be searched ("),
        (["epochs=tag(lg,range(1,3))"], "the tag lg is unknown, expected log"),
        (["epochs=range(3,3)"], "epochs=range(3,3) cannot be searched (the range is empty)"),
        (["batch_size=32,0"], "batch_size=0: expected a whole number from 1"),
        (["optimizer=adam,sdg"], "optimizer=sdg is unknown: did you mean 'sgd'?"),
        (["dataset=npz"], "dataset.path is missing: give it on the command line"),
    ],
)
def test_what_cannot_be_searched(
    cli: Callable[..., int], tmp_path: Path, capsys, arguments: list[str], line: str
) -> None:
    assert cli("-m", "hparams_search=optuna", *arguments) == 1
    errors = capsys.readouterr().err
    assert line in errors
    assert errors.count("\n") == 1
    assert not list(tmp_path.rglob("*.*")), "nothing is written"


def test_another_search_of_the_same_name(search: Search, objective: list[float], capsys) -> None:
    assert search(trials=1) == 0
    before = {file: file.read_bytes() for file in FOLDER.iterdir() if file.is_file()}
    assert search("batch_size=choice(16,64)") == 1
    assert "holds a search of another space, in batch_size: choose" in capsys.readouterr().err
    assert search("epochs=2") == 1
    assert "holds a search with other settings than those composed" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in before} == before
    assert len(objective) == 1


def test_a_lost_study_is_made_again_from_its_runs(search: Search, capsys) -> None:
    assert search(trials=2) == 0
    before = trials()
    (FOLDER / "study.db").write_text("no database" * 20)
    capsys.readouterr()
    assert search(trials=2) == 1
    assert "study.db cannot be opened (file is not a database): " in capsys.readouterr().err
    (FOLDER / "study.db").unlink()
    assert search(trials=2) == 0
    assert capsys.readouterr().out.count("finished before: not run again") == 2
    assert trials() == before


def test_without_multirun(cli: Callable[..., int], tmp_path: Path, capsys) -> None:
    assert cli("hparams_search=optuna") == 1
    assert capsys.readouterr().err == (
        "error: hparams_search=optuna is a sweep: give -m (--multirun) too\n"
    )
    assert not list(tmp_path.iterdir())
    assert cli("--cfg", "job", "hparams_search=optuna") == 0
    assert "batch_size: 64" in capsys.readouterr().out


def test_without_optuna(cli: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.delitem(sys.modules, "dermaexp.search")
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert cli("-m", "hparams_search=optuna") == 1
    assert capsys.readouterr().err == (
        "error: hparams_search needs optuna, which is not installed: "
        "pip install 'dermaexp[search]'\n"
    )


def test_no_start_waits_for_optuna() -> None:
    code = (
        "import sys; from hydra.core.plugins import Plugins; Plugins.instance(); "
        "sys.exit(not sys.modules.keys() & {'hydra_plugins.dermaexp_search'} "
        "or bool(sys.modules.keys() & {'optuna', 'rich', 'torch'}))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
