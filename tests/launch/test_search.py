"""The search for hyper-parameters: its trials, its interruptions, and what it refuses."""

from __future__ import annotations

import csv
import json
import math
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers import NO_FIGURES, Killed, kill_at_write, overridden
from omegaconf import DictConfig

from dermaexp.core.errors import UserError
from dermaexp.core.override_grammar import parse_one
from dermaexp.launch import validate
from dermaexp.launch.identity import effective
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.identity import config_digest

optuna = pytest.importorskip("optuna", reason="the search needs pip install 'dermaexp[search]'")

from optuna.distributions import (  # noqa: E402
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from dermaexp.launch.search.best_trial import BestTrial  # noqa: E402
from dermaexp.launch.search.record import importances  # noqa: E402
from dermaexp.launch.search.space import distribution, repetitions  # noqa: E402

SPACE = ("optimizer.lr=tag(log,interval(1e-4,1e-1))", "batch_size=choice(16,32)")
FOLDER = Path("multirun", "study")
UPDATE = BestTrial.update
BEST = FOLDER / "experiment" / "best.yaml"
Search = Callable[..., int]
Pasted = Callable[[], list[DictConfig]]


@pytest.fixture
def search(cli: Callable[..., int], data_file: Path) -> Search:
    """Start a small search, or resume it; gives the exit code."""
    data = ("dataset=npz", f"dataset.path={data_file}", "trainer=cpu")
    small = ("epochs=1", "model=ffn", "model.hidden=[4]", *NO_FIGURES)

    def run(*arguments: str, trials: int = 3, name: str = "study") -> int:
        options = ("hparams_search=optuna", f"hydra.sweeper.n_trials={trials}", f"name={name}")
        return cli("-m", *overridden([*options, *data, *small, *SPACE], *arguments))

    return run


@pytest.fixture
def objective(monkeypatch: pytest.MonkeyPatch) -> list[DictConfig]:
    """Jobs score a formula at once instead of training; gives the configs tried."""
    tried = []

    def run_job(config: DictConfig, **_: object) -> float:
        validate.check(config)
        tried.append(config)
        score = 1 - abs(math.log10(config.optimizer.lr) + 2) / 4 - config.batch_size / 1000
        return score - config.seed / 10 - config.dataset.fold / 100

    monkeypatch.setattr("dermaexp.launch.job.run_job", run_job)
    monkeypatch.setattr("dermaexp.compare.output.compare", lambda folder: 0)
    monkeypatch.setattr(BestTrial, "update", lambda self, study: None)
    return tried


def trials(folder: Path = FOLDER) -> list[tuple[str, dict, float | None]]:
    url = f"sqlite:///{folder / 'study.db'}"
    study = optuna.load_study(study_name="search", storage=url)
    return [(trial.state.name, trial.params, trial.value) for trial in study.trials]


@pytest.fixture
def pasted(
    cli: Callable[..., int],
    objective: list[DictConfig],
    monkeypatch: pytest.MonkeyPatch,
    capsys,
) -> Pasted:
    """Run the command that a search printed for its best trial; gives the jobs' configs."""
    monkeypatch.setattr(BestTrial, "update", UPDATE)

    def run() -> list[DictConfig]:
        del objective[:]
        (line,) = re.findall("to run the best again .*: (python -m .*)", capsys.readouterr().out)
        assert line in BEST.read_text().splitlines()[1]
        assert cli(*shlex.split(line)[3:]) == 0
        return objective

    return run


def digest(config: DictConfig) -> str:
    return config_digest(effective(config))


def jobs(folder: Path = FOLDER) -> Iterator[tuple[RunDirectory, list[str]]]:
    for file in folder.glob("*/run.json"):
        yield RunDirectory(file.parent), json.loads(file.read_text())["overrides"]


@pytest.mark.slow
@pytest.mark.usefixtures("tables_only")
def test_each_trial_is_a_job_with_its_val_score_from_which_a_lost_study_is_restored(
    search: Search, capsys
) -> None:
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
    before = trials()
    (FOLDER / "study.db").write_text("no database" * 20)
    assert search() == 1
    assert "study.db cannot be opened (file is not a database): " in capsys.readouterr().err
    (FOLDER / "study.db").unlink()
    assert search() == 0
    assert capsys.readouterr().out.count("finished before: not run again") == 3
    assert trials() == before


@pytest.mark.slow
def test_a_killed_search_equals_one_that_was_not(
    search: Search, objective: list[DictConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each step of a trial, also after the sampler's random start of ten trials."""
    count = 11
    assert search(trials=count, name="whole") == 0
    expected = trials(Path("multirun/whole"))
    assert len({params["optimizer.lr"] for _, params, _ in expected}) == count
    for call, target, before in [
        (2, "optuna.Study.add_trial", True),
        (3, "optuna.Study.add_trial", False),
        (3, "dermaexp.launch.job.run_job", True),
        (4, "optuna.Study.tell", True),
        (2, "optuna.Study.tell", False),
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


@pytest.mark.slow
@pytest.mark.usefixtures("tables_only")
def test_a_trial_with_seeds_failed_or_killed_in_one_of_them_runs_that_one_again(
    search: Search, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    from dermaexp.training import experiment

    run, calls = experiment.run, []

    def failing(*arguments: object, **named: object) -> float:
        calls.append(arguments)
        if len(calls) == 2:
            raise UserError("out of luck")
        return run(*arguments, **named)

    repeated, failed = ("epochs=2", "seed=1,0"), Path("multirun/failed")
    with monkeypatch.context() as patch:
        patch.setattr("dermaexp.training.experiment.run", failing)
        assert search(*repeated, trials=1, name="failed") == 1
        output = capsys.readouterr()
        assert "job 1 failed: out of luck" in output.err
        assert "trial 0 failed: no val macro AUROC with seed=1\n" in output.out
        assert search(*repeated, trials=1, name="failed") == 0
    assert len(calls) == 3, "the seed that finished is not trained again"
    output = capsys.readouterr()
    (state, params, none), (_, again, score) = trials(failed)
    assert (state, none, params.keys()) == ("FAIL", None, {"optimizer.lr", "batch_size"})
    assert again == params
    scores = [run.read_metrics()["val"]["macro_auroc"] for run, _ in jobs(failed)]
    assert len(set(scores)) == 2 and score == pytest.approx(sum(scores) / 2, abs=1e-12)
    assert f"trial 1: val macro AUROC {score:.4f}, the mean over seed=0,1\n" in output.out
    assert "best of 1 trials" in output.out
    assert "failed" not in output.err
    group, _ = csv.DictReader((failed / "leaderboard.csv").read_text().splitlines())
    assert (group["n"], group["seeds"]) == ("2", "0 1")

    with monkeypatch.context() as patch:
        kill_at_write(19, patch)  # of the second seed, after the first epoch
        with pytest.raises(Killed):
            search(*repeated, trials=1)
    assert [state for state, _, _ in trials()] == ["RUNNING"]
    capsys.readouterr()
    assert search("epochs=2", "seed=range(0,2)", trials=1) == 0
    output = capsys.readouterr().out
    assert output.count("finished before: not run again") == 1
    assert output.count("epoch 1/2") == 0 and output.count("epoch 2/2") == 1
    assert trials() == [("COMPLETE", params, score)]


@pytest.mark.slow
@pytest.mark.usefixtures("tables_only")
def test_resume_goes_on_with_a_search_or_one_of_its_runs(
    cli: Callable[..., int], search: Search, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    with monkeypatch.context() as patch:
        kill_at_write(3, patch)
        with pytest.raises(Killed):
            search(trials=2)
    ((directory, _),) = jobs()
    assert cli(f"resume={directory.path}") == 0
    assert directory.read_run()["status"] == "finished"
    capsys.readouterr()
    moved = FOLDER.rename("it's moved, here=1 #2")
    assert cli(f"resume={moved}") == 0
    assert capsys.readouterr().out.count("finished before: not run again") == 1
    scores = [run.read_metrics()["val"]["macro_auroc"] for run, _ in jobs(moved)]
    assert sorted(value for _, _, value in trials(moved)) == sorted(scores)
    header = (moved / "experiment" / "best.yaml").read_text().splitlines()[1]
    config_dir = shlex.join(["--config-dir", str(moved.absolute())])
    assert header.endswith(f": python -m dermaexp {config_dir} experiment=best")


@pytest.mark.slow
def test_more_trials_later(search: Search, objective: list[DictConfig]) -> None:
    assert search(trials=3, name="whole") == 0
    assert search(trials=1) == 0
    del objective[:]
    assert search(trials=3) == 0
    assert len(objective) == 2
    assert trials() == trials(Path("multirun/whole"))
    assert search(trials=1) == 0
    assert len(objective) == 2, "enough of them finished"


@pytest.mark.slow
def test_failed_trials_are_retried_a_bounded_number_of_times(
    search: Search, objective: list[DictConfig], monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def diverging(config: DictConfig, **_: object) -> float:
        objective.append(config)
        return math.nan

    counts = []
    with monkeypatch.context() as patch:
        patch.setattr("dermaexp.launch.job.run_job", diverging)
        for _ in range(3):
            assert search(trials=2) == 1
            counts.append(len(objective))
            (line,) = capsys.readouterr().err.splitlines()
            assert f"all trials of {FOLDER.absolute()} failed: 2" in line
            assert line.endswith("of which the next start tries 2 again") == (counts == [2])
    assert counts == [2, 4, 4]
    assert search(trials=3) == 0
    assert [state for state, _, _ in trials()] == ["FAIL"] * 4 + ["COMPLETE"]
    output = capsys.readouterr().out
    assert "best of 1 trials" in output and "failed trials: 2\n" in output


@pytest.mark.slow
def test_seeds_and_folds_of_several_trials_at_once(
    search: Search, objective: list[DictConfig], pasted: Pasted, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hydra._internal.core_plugins.basic_launcher import BasicLauncher

    launch, batches = BasicLauncher.launch, []

    def counting(self: BasicLauncher, jobs: list, initial_job_idx: int) -> object:
        batches.append((initial_job_idx, len(jobs)))
        return launch(self, jobs, initial_job_idx)

    monkeypatch.setattr(BasicLauncher, "launch", counting)
    grouped = ("dataset.split=grouped", "dataset.groups=g.csv", "dataset.folds=2")
    places = ("seed=choice(3,1)", "dataset.fold=0,1")
    assert search("hydra.sweeper.n_jobs=2", *grouped, *places, trials=3) == 0
    assert batches == [(0, 8), (8, 4)], "unique numbers: a trial's first is four times its own"
    assert [(config.seed, config.dataset.fold) for config in objective[:4]] == [
        (1, 0),
        (1, 1),
        (3, 0),
        (3, 1),
    ]
    for _, params, value in trials():
        alone = 1 - abs(math.log10(params["optimizer.lr"]) + 2) / 4
        assert value == pytest.approx(alone - int(params["batch_size"]) / 1000 - 0.2 - 0.005)
    tried = {digest(config) for config in objective}
    assert len(tried) == 12
    again = [digest(config) for config in pasted()]
    assert len(again) == 4 and tried.issuperset(again)


@pytest.mark.slow
def test_the_best_trial_runs_again_by_its_experiment_file(
    cli: Callable[..., int],
    objective: list[DictConfig],
    pasted: Pasted,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = (
        "-m",
        "hparams_search=optuna",
        "hydra.sweeper.n_trials=2",
        "hydra.sweep.dir=multirun/study",
        "name='1e3'",
        "experiment=quick",
        "model.width=8,16",
        "batch_size=64",
        "callbacks.ema.decay=0.5",
        "callbacks.montage=null",
        "~optimizer.weight_decay",
        "+optimizer.betas=[0.5,0.9]",
        "seed=7",
        "dataset=npz",
        r"dataset.path='it\'s, #1=ü $%{ 1e3.npz'",
        "dataset.classes=[a,'b c','null','1e-3']",
    )
    with monkeypatch.context() as patch:
        kill_at_call(2, "dermaexp.launch.job.run_job", True, patch)
        with pytest.raises(Killed):
            cli(*arguments)
    assert "# The best trial of a search: trial 0, val macro AUROC" in BEST.read_text()
    assert cli(*arguments) == 0
    scores = [score for _, _, score in trials()]
    number = scores.index(max(scores))
    best = objective[number]
    text = BEST.read_text()
    assert text.startswith(
        f"# @package _global_\n# The best trial of a search: trial {number}, val macro AUROC "
        f"{max(scores):.4f} with seed=7: python -m dermaexp --config-dir "
    )
    assert "- override /callbacks:\n  - default\n  - ema\n" in text
    assert "- override /optimizer: null\n" in text, "a file cannot remove a key"
    (again,) = pasted()
    assert digest(again) == digest(best)
    assert again.name == best.name == "1e3"


@pytest.mark.slow
def test_an_experiment_named_best_of_ones_own(
    cli: Callable[..., int], objective: list[DictConfig], pasted: Pasted, capsys, monkeypatch
) -> None:
    """It is neither taken for the search's nor overwritten; --config-dir can be given once only."""
    own = Path("it's mine, =1")
    for name, text in [("model/own", "_target_: x.Y"), ("experiment/best", "# mine")]:
        file = own / f"{name}.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(text)
    options = ("hparams_search=optuna", "hydra.sweeper.n_trials=1", "name=study")
    arguments = ("-m", "--config-dir", str(own), *options, "model=own", "batch_size=64")
    monkeypatch.setitem(globals(), "BEST", BEST.with_name("best_2.yaml"))
    BEST.parent.mkdir(parents=True)
    BEST.write_text("# mine")
    assert cli(*arguments) == 1
    assert f"{BEST.absolute()} was not written by a search" in capsys.readouterr().err
    assert BEST.read_text() == "# mine" and not objective
    BEST.unlink()
    assert cli(*arguments) == 0
    before = digest(objective[0])
    assert [digest(config) for config in pasted()] == [before]


@pytest.mark.slow
def test_the_configs_space_and_the_command_lines(
    search: Search, objective: list[DictConfig], capsys
) -> None:
    assert search("optimizer=sgd,adam", "optimizer.momentum=0.5", trials=1) == 1
    line = "the key optimizer.momentum is one of optimizer=sgd, not of optimizer=adam"
    assert line in capsys.readouterr().err
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
    assert distribution(parse_one(f"key={text}")) == expected


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ("interval(2,1)", "`low <= high`"),
        ("tag(lg,range(1,3))", "the tag lg is unknown, expected log"),
        ("range(3,3)", "the range is empty"),
    ],
)
def test_sweeps_that_are_no_distribution(values: str, reason: str) -> None:
    with pytest.raises(UserError) as error:
        distribution(parse_one(f"epochs={values}"))
    line = str(error.value)
    assert line.startswith(f"epochs={values} cannot be searched (") and reason in line


@pytest.mark.parametrize("values", ["int(interval(0,3))", "tag(log,range(1,3))", "range(3,3)"])
def test_what_no_trial_is_repeated_over(values: str) -> None:
    line = f"dataset.fold={values}"
    with pytest.raises(UserError, match="expected whole numbers") as error:
        repetitions(parse_one(line))
    assert str(error.value).startswith(f"{line}: ")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["hydra.sweeper.n_trials=x"], "hydra.sweeper.n_trials=x: expected a whole number from 1"),
        (["hydra.sweeper.max_retry=-1"], "hydra.sweeper.max_retry=-1: expected a whole number f"),
        (["hydra.sweeper.seed=-1"], "hydra.sweeper.seed=-1: expected a whole number from 0"),
        (["hydra.sweeper.space=null"], "the search's space is empty: give KEY=interval(LOW,HIGH)"),
        (
            ["+hydra.sweeper.space.epochs='uniform(1,2)'"],
            "epochs=uniform(1,2) cannot be searched (Unknown function 'uniform'): expected choice(",
        ),
        (["+hydra.sweeper.space.epochs=3"], "epochs=3 cannot be searched (it is one value)"),
        (["+hydra.sweeper.space.name='a,b'"], "name=a,b cannot be searched (the name is that of"),
        (["+hydra.sweeper.space.epoch='2,3'"], "the key epoch is unknown: did you mean 'epochs'?"),
        (["seed=interval(0,5)"], "seed=interval(0,5): expected whole numbers, such as seed=0,1,2"),
        (["seed=0,1,0"], "seed=0 with fold 0 would be run twice: give each seed and fold once"),
        (["dataset.fold=0,1"], "dataset.fold=1, but the official split has no folds"),
        (["+hydra.sweeper.space.seed='0,1'"], "holds seed, but a search cannot choose it: give s"),
        (["+hydra.sweeper.space.dataset.fold='0,1'"], "holds dataset.fold, but a search cannot"),
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


@pytest.mark.slow
def test_another_search_of_the_same_name(
    search: Search, objective: list[DictConfig], capsys
) -> None:
    assert search(trials=1) == 0
    before = {file: file.read_bytes() for file in FOLDER.iterdir() if file.is_file()}
    assert search("batch_size=choice(16,64)") == 1
    assert "holds a search of another space, in batch_size: choose" in capsys.readouterr().err
    assert search("seed=0,1") == 1
    assert "holds a search with seed=0, not with seed=0,1: choose" in capsys.readouterr().err
    assert search("epochs=2") == 1
    assert "holds a search with another config than that composed" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in before} == before
    assert len(objective) == 1


@pytest.mark.slow
def test_without_multirun(cli: Callable[..., int], tmp_path: Path, capsys) -> None:
    assert cli("hparams_search=optuna") == 1
    assert capsys.readouterr().err == (
        "error: hparams_search=optuna is a sweep: give -m (--multirun) too\n"
    )
    assert not list(tmp_path.iterdir())
    assert cli("--cfg", "job", "hparams_search=optuna") == 0
    assert "batch_size: 64" in capsys.readouterr().out


def test_without_optuna(cli: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.delitem(sys.modules, "dermaexp.launch.search.run", raising=False)
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


@pytest.mark.slow
def test_importances() -> None:
    """fANOVA of 4 a + b, uniform and independent: the variances are as 16 to 1."""
    study = optuna.create_study(direction="maximize")
    space = {key: FloatDistribution(0, 1) for key in "ab"}
    for a in range(8):
        for b in range(8):
            params = {"a": a / 7, "b": b / 7}
            value = 4 * params["a"] + params["b"]
            study.add_trial(optuna.create_trial(params=params, distributions=space, value=value))
    found = importances(study)
    assert found == pytest.approx({"a": 16 / 17, "b": 1 / 17}, abs=0.03)
    assert found == importances(study), "seeded"
    few = optuna.create_study(direction="maximize")
    few.add_trials([trial for trial in study.trials if trial.params["b"] == 1][:2])
    assert importances(few) == {}
    few.add_trials(few.trials)
    assert importances(few), "rough"
    equal = optuna.create_study(direction="maximize")
    equal.add_trials(
        [optuna.create_trial(params=t.params, distributions=space, value=1) for t in few.trials]
    )
    assert importances(equal) == {}
