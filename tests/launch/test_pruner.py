"""A search that prunes: which trials, what their runs leave, and how they are resumed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import Killed, numbers, parsed

from dermaexp.compare import output
from dermaexp.core.errors import UserError
from dermaexp.runs.directory import RunDirectory

optuna = pytest.importorskip("optuna", reason="the search needs pip install 'dermaexp[search]'")

from optuna.distributions import FloatDistribution  # noqa: E402
from optuna.pruners import HyperbandPruner, MedianPruner  # noqa: E402

from dermaexp.launch.search import pruner  # noqa: E402
from dermaexp.launch.search.database import own_database  # noqa: E402
from dermaexp.launch.search.plan import Plan  # noqa: E402
from dermaexp.launch.search.reported_trial import ReportedTrial  # noqa: E402
from dermaexp.launch.search.study import Limits, Trials  # noqa: E402

comparing = output.compare
PLAN = Plan([], {"lr": FloatDistribution(0, 1)}, [[]], "seed=0", "d19e57", "Data")
FOLDER = Path("multirun", "study")
Cli = Callable[..., int]
Ends = list[tuple[str, dict[int, float], float | None]]  # state, values by epoch, value


def score(number: int, epoch: int) -> float:
    """Rises with the epochs, to another height in each trial."""
    return 0.5 + (number * 0.37 % 0.4) * (1 - 0.8**epoch)


def reported(folder: Path, word: str, number: int, epochs: int, **more: bool) -> ReportedTrial:
    options = {"study": "search", "pruner": word, "epochs": epochs, "decides": True, **more}
    return ReportedTrial(url=own_database(folder).url, number=number, **options)  # type: ignore[arg-type]


def ends(study: optuna.Study) -> Ends:
    return [(trial.state.name, trial.intermediate_values, trial.value) for trial in study.trials]


def ours(folder: Path, word: str, trials: int, epochs: int) -> Ends:
    """The ends of a search whose jobs report these scores, each with a database of its own."""
    search = Trials(own_database(folder), PLAN, Limits(trials, n_jobs=1, max_retry=1, seed=0))
    while batch := search.batch():
        (trial,) = batch
        job = reported(folder, word, trial.number, epochs)
        values = [score(trial.number, epoch) for epoch in range(1, epochs + 1)]
        pruned = any(job.report(value, epoch) for epoch, value in enumerate(values, 1))
        assert search.end(trial, None if pruned else max(values), ["run"], pruned=pruned)
    return ends(search.study)


def optunas(pruner: optuna.pruners.BasePruner, trials: int, epochs: int) -> Ends:
    """The same by Optuna's own loop, in memory."""

    def objective(trial: optuna.Trial) -> float:
        for epoch in range(1, epochs + 1):
            trial.report(score(trial.number, epoch), epoch)
            if epoch < epochs and trial.should_prune():
                raise optuna.TrialPruned
        return max(score(trial.number, epoch) for epoch in range(1, epochs + 1))

    study = optuna.create_study(study_name="search", direction="maximize", pruner=pruner)
    study.optimize(objective, trials)
    return ends(study)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("word", "epochs", "plain", "rungs"),
    [
        ("median", 10, MedianPruner(n_startup_trials=5, n_warmup_steps=3), {3}),
        ("hyperband", 18, HyperbandPruner(min_resource=2, max_resource=18), {2, 6}),
    ],
)
def test_it_prunes_what_optuna_itself_would(
    word: str, epochs: int, plain: optuna.pruners.BasePruner, rungs: set[int], tmp_path: Path
) -> None:
    found = ours(tmp_path, word, 10, epochs)
    assert found == optunas(plain, 10, epochs)
    assert {max(values) for state, values, _ in found if state == "PRUNED"} == rungs
    assert all(values[max(values)] == value for state, values, value in found if state == "PRUNED")


def test_the_median_of_five_by_hand(tmp_path: Path) -> None:
    search = Trials(own_database(tmp_path), PLAN, Limits(7, n_jobs=1, max_retry=1, seed=0))
    for value in (0.5, 0.9, 0.7, 0.6, 0.8):
        (trial,) = search.batch()
        job = reported(tmp_path, "median", trial.number, 4)
        assert not any(job.report(value, epoch) for epoch in (1, 2, 3, 4))
        search.end(trial, value, [])
    (low,) = search.batch()
    job = reported(tmp_path, "median", low.number, 4)
    sibling = reported(tmp_path, "median", low.number, 4, decides=False)
    assert not job.report(math.nan, 2), "an undefined score says nothing"
    assert [job.report(0.69, 1), sibling.report(0.1, 1), sibling.was_pruned()] == [False] * 3
    assert job.report(0.69, 2), "below 0.7, after the first epoch"
    assert [sibling.report(0.9, 1), sibling.was_pruned()] == [True] * 2
    assert not job.was_pruned(), "a killed one resumes, and decides again"
    search.end(low, None, [], pruned=True)
    (high,) = search.batch()
    job = reported(tmp_path, "median", high.number, 4)
    assert not any(job.report(0.71, epoch) for epoch in (1, 2, 3))
    assert not job.report(0.1, 4), "nothing is left to save"
    assert search.study.trials[low.number].value == 0.69
    assert 0.1 not in search.study.trials[low.number].intermediate_values.values()


def test_a_database_that_is_gone_stops_no_training(tmp_path: Path, capsys) -> None:
    Trials(own_database(tmp_path), PLAN, Limits(1, n_jobs=1, max_retry=1, seed=0))
    (tmp_path / "study.db").write_text("no database" * 20)
    job = reported(tmp_path, "hyperband", 0, 9)
    assert [job.report(0.1, epoch) for epoch in (1, 2)] == [False, False]
    lines = " ".join(capsys.readouterr().err.split())
    assert lines.count("database cannot be reached, no pruning (file is not a database)") == 1


@pytest.mark.parametrize(
    ("word", "keys", "line"),
    [
        ("mean", (), "hydra.sweeper.pruner=mean: expected none, median or hyperband"),
        (None, (), "hydra.sweeper.pruner=None: expected none, median or hyperband"),
        ("hyperband", ("batch_size", "epochs"), "but the search varies epochs: expected median or"),
    ],
)
def test_what_cannot_prune(word: str | None, keys: tuple[str, ...], line: str) -> None:
    with pytest.raises(UserError, match=line):
        pruner.check(word, keys)
    pruner.check("median", keys)


@pytest.fixture
def search(cli: Cli, data_file: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Start or resume a small search that prunes after the first finished trial."""
    monkeypatch.setattr(pruner, "FIRST", 1)
    monkeypatch.setattr("dermaexp.compare.output.compare", lambda folder: 0)
    data = ("dataset=npz", f"dataset.path={data_file}", "trainer=cpu", "callbacks=no_figures")
    small = ("epochs=3", "model=ffn", "model.hidden=[4]", "report=false")

    def run(*arguments: str, trials: int = 3, word: str = "median", name: str = "study") -> int:
        options = ("hparams_search=optuna", f"hydra.sweeper.n_trials={trials}", f"name={name}")
        space = "optimizer.lr=tag(log,interval(1e-6,1e-1))"
        chosen = f"hydra.sweeper.pruner={word}"
        return cli("-m", *options, chosen, space, *data, *small, *arguments)

    return run


def stored() -> Ends:
    url = f"sqlite:///{FOLDER / 'study.db'}"
    return ends(optuna.load_study(study_name="search", storage=url))


def runs(status: str) -> list[RunDirectory]:
    found = [RunDirectory(file.parent) for file in sorted(FOLDER.glob("*/run.json"))]
    return [run for run in found if run.read_run()["status"] == status]


@pytest.mark.slow
def test_a_search_with_pruned_trials_its_page_and_their_resumption(
    search: Callable[..., int], cli: Cli, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    with monkeypatch.context() as patch:  # killed when the first trial to be pruned was stopped

        def killed(record: dict, directory: RunDirectory) -> None:
            if "pruned_after" in record:
                raise Killed
            directory.write_run(record)

        patch.setattr("dermaexp.training.experiment._write_record", killed)
        with pytest.raises(Killed):
            search()
    capsys.readouterr()
    assert search() == 0
    printed = capsys.readouterr().out
    assert "epoch 2/3" in printed.split("pruned after epoch 2")[1], "in the trials after it only"
    assert "epoch 3/3" not in printed.split("pruned after epoch 2")[0]
    found = stored()
    pruned = [number for number, (state, *_) in enumerate(found) if state == "PRUNED"]
    assert pruned and {state for state, *_ in found} == {"COMPLETE", "PRUNED"}
    assert f"pruned trials: {len(pruned)} (to train one" in printed
    # The same by Optuna, from the values in the database.
    plain = optuna.create_study(direction="maximize", pruner=MedianPruner(1, 2))
    for state, values, value in found:
        trial = plain.ask()
        decisions = []
        for epoch, reported_value in values.items():
            trial.report(reported_value, epoch)
            decisions.append(epoch < 3 and trial.should_prune())
        assert decisions == [epoch == 2 and state == "PRUNED" for epoch in values]
        plain.tell(trial, value if state == "COMPLETE" else None, optuna.trial.TrialState[state])

    # The runs, and what the page says of them.
    left = runs("pruned")
    assert len(left) == len(pruned)
    for run in left:
        assert run.read_run()["pruned_after"] == len(run.read_history()) == 2
        assert len(run.checkpoint_files()) == 2 and not run.has_metrics()
    content = json.loads((FOLDER / "search.json").read_text())
    ended = [(t["number"], t["pruned_after"]) for t in content["trials"] if "pruned_after" in t]
    assert ended == [(number, 2) for number in pruned]
    assert comparing(FOLDER) == 0, "no run has failed"
    page = parsed(FOLDER)
    assert f"Trials: {len(found) - len(pruned)} finished, {len(pruned)} pruned." in page.text
    assert "did not finish or cannot be compared: which" not in page.text
    (table,) = (table for table in page.tables if "val AUROC then" in table[0])
    assert [row[:3] for row in table[1:]] == [
        [str(number), "2", f"{found[number][1][2]:.4f}"] for number in pruned
    ]
    assert len((FOLDER / "leaderboard.csv").read_text().splitlines()) == 2 + len(found) - len(
        pruned
    )
    best = max((value, number) for number, (state, _, value) in enumerate(found) if state[0] == "C")
    assert f"of trial {best[1]} with" in printed

    # A lost study finds them as they were; resumed alone, one becomes the run without a pruner.
    (FOLDER / "study.db").unlink()
    assert search() == 0
    printed = capsys.readouterr().out
    assert stored() == found and "epoch " not in printed.replace("after epoch", "")
    assert printed.count("pruned before: not run again") == len(pruned)
    assert cli(f"resume={left[0].path}") == 0
    record = left[0].read_run()
    assert record["status"] == "finished" and record["resumed"][-1]["pruned_after"] == 2
    again = [o for o in record["overrides"] if not o.startswith(("hparams_search=", "resume="))]
    assert cli(*again, "hydra.run.dir=whole") == 0
    assert numbers(left[0].path) == numbers(Path("whole"))
    assert search() == 0
    assert stored() == found, "its trial stays pruned"


@pytest.mark.slow
def test_the_first_seed_decides_for_all(search: Callable[..., int], cli: Cli, capsys) -> None:
    assert search("seed=0,1", trials=2) == 0
    found = stored()
    pruned = sum(state == "PRUNED" for state, *_ in found)
    assert pruned and pruned < len(found)
    left = {
        seed: [run for run in runs("pruned") if run.read_run()["seed"] == seed] for seed in (0, 1)
    }
    assert [len(left[0]), len(left[1])] == [pruned, pruned]
    assert {run.read_run()["pruned_after"] for run in left[0]} == {2}
    assert {run.read_run()["pruned_after"] for run in left[1]} == {0}
    assert cli(f"resume={left[1][0].path}") == 0
    assert len(left[1][0].read_history()) == 3


@pytest.mark.slow
def test_a_search_without_a_pruner_reports_nothing_and_trains_what_was_pruned(
    search: Callable[..., int],
) -> None:
    assert search(trials=2) == 0
    count = len(runs("pruned"))
    (FOLDER / "study.db").unlink()
    assert search(trials=2, word="none") == 0
    assert count and not runs("pruned")
    assert [(state, values) for state, values, _ in stored()] == [("COMPLETE", {})] * 2
