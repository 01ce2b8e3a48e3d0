"""What a comparison's page says of the search for hyper-parameters that its sweep was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers import compare_command, comparison_page, make_sweep, write_run

from dermaexp.compare.comparison import comparison_of
from dermaexp.compare.figures import search_figures
from dermaexp.compare.search import Search, read_search, why_no_history, why_no_importances

STATES = ("complete", "complete", "fail", "complete")
SCORES = (0.6, 0.8, None, 0.7)


def search_of(
    states: tuple[str, ...] = STATES,
    scores: tuple[float | None, ...] = SCORES,
    importances: dict[str, float] | None = None,
    keys: tuple[str, ...] = ("optimizer.lr", "batch_size"),
) -> Search:
    trials: list[Any] = [
        {"number": number, "state": state, "value": score, "params": dict.fromkeys(keys, 1)}
        for number, (state, score) in enumerate(zip(states, scores, strict=True))
    ]
    for trial, run in zip(trials, ("cnn0", "cnn1", "bad", "on_another_machine"), strict=False):
        trial["runs"] = [run]
    data = "Lesions (SYNTHETIC DATA)"
    places = {"data": data, "places": "seed=0"}
    return {"schema": 1, **places, "trials": trials, "importances": importances or {}}


def write(folder: Path, search: Search) -> None:
    (folder / "search.json").write_text(json.dumps(search))


@pytest.mark.slow
def test_the_search_on_the_page(tmp_path: Path) -> None:
    shares = {"batch_size": 0.75, "optimizer.lr": 0.25}
    write(make_sweep(tmp_path), search_of(importances=shares))
    page = comparison_page(tmp_path)
    for words in (
        "Trials: 3 finished, 1 failed.",
        "Trial 1 is the best: val macro AUROC 0.8000 with seed=0, by optimizer.lr=1 batch_size=1.",
        "Trial 3 ran elsewhere: its runs are not on this page.",
        "estimated from 3 finished trials",
    ):
        assert words in page.text
    figures = {"figures/search_history.png", "figures/search_importances.png"}
    assert figures <= set(page.addresses["href"])
    record = json.loads((tmp_path / "comparison.json").read_text())
    assert record["importances"] == shares and figures <= set(record["files"])
    write(tmp_path, search_of(STATES[:1], SCORES[:1]))
    text = comparison_page(tmp_path).text
    assert "A history takes 2 finished trials: there is 1." in text
    assert not any((tmp_path / figure).exists() for figure in figures)


def test_pruned_trials_are_listed_and_ranked_nowhere(tmp_path: Path) -> None:
    make_sweep(tmp_path)
    write_run(tmp_path / "bad", "cnn", 2, status="pruned", pruned_after=2)
    states, values = ("complete", "complete", "pruned", "pruned"), (0.6, 0.8, 0.9, None)
    search = search_of(states, values)
    search["trials"][2]["pruned_after"] = 2
    search["trials"][3]["pruned_after"] = None  # its run was pruned before it reported
    write(tmp_path, search)
    comparison = comparison_of([tmp_path])
    assert comparison.unfinished == 0
    assert [run.reason for run in comparison.left_out] == ["its search pruned it after epoch 2"]
    page = comparison_page(tmp_path)
    assert "Trials: 2 finished, 2 pruned." in page.text
    assert "Trial 1 is the best: val macro AUROC 0.8000" in page.text
    assert "did not finish or cannot be compared: which" not in page.text
    (table,) = (table for table in page.tables if "val AUROC then" in table[0])
    assert table[1:] == [
        ["2", "2", "0.9000", "1", "1", "bad"],
        ["3", "", "", "1", "1", "elsewhere"],
    ]
    assert "bad/" in page.addresses["href"] and "python -m dermaexp resume=RUN_DIR" in page.text
    history = next(search_figures(search)).figure.axes[0].lines
    best, _, pruned = history
    assert best.get_xydata().tolist() == [[0, 0.6], [1, 0.8]], "a pruned trial is never the best"
    assert pruned.get_xydata().tolist() == [[2, 0.9]]


def test_the_figures_show_the_numbers_and_name_synthetic_data() -> None:
    history, importances = search_figures(search_of(importances={"batch_size": 1, "lr": 0}))
    for plotted in (history, importances):
        (text,) = plotted.figure.texts
        assert "on Lesions (SYNTHETIC DATA)" in text.get_text()
    best, trials, failed = history.figure.axes[0].lines
    assert best.get_xydata().tolist() == [[0, 0.6], [1, 0.8], [3, 0.8]]
    assert trials.get_xydata().tolist() == [[0, 0.6], [1, 0.8], [3, 0.7]]
    assert list(failed.get_xdata()) == [2]
    bars = importances.figure.axes[0].patches
    assert [bar.get_width() for bar in bars] == [1, 0]


@pytest.mark.parametrize(
    ("scores", "keys", "history", "importances"),
    [
        (
            (None, None),
            "ab",
            "2 finished trials: there is none.",
            "3 finished trials: there are none",
        ),
        ((0.5, None), "ab", "2 finished trials: there is 1.", "3 finished trials: there are 1."),
        ((0.5, 0.6), "ab", "", "An importance takes 3 finished trials: there are 2."),
        ((0.5, 0.6, 0.7), "a", "", "The search varies a only: "),
        ((0.5, 0.5, 0.5), "ab", "", "All trials score alike: no config key shows an effect."),
    ],
)
def test_too_little_for_a_figure(
    scores: tuple[float | None, ...], keys: str, history: str, importances: str
) -> None:
    states = tuple("fail" if score is None else "complete" for score in scores)
    search = search_of(states, scores, keys=tuple(keys))
    assert history in why_no_history(search) and bool(history) == bool(why_no_history(search))
    assert importances in why_no_importances(search)
    assert len(list(search_figures(search))) == (not history)


def test_runs_of_a_living_search_did_not_fail(tmp_path: Path) -> None:
    write_run(tmp_path / "here", status="running")
    write_run(tmp_path / "there", status="failed")
    assert comparison_of([tmp_path]).unfinished == 2
    write(tmp_path, search_of(("running",), (None,)))
    assert comparison_of([tmp_path]).unfinished == 1


def test_a_damaged_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    assert read_search(tmp_path) is None
    write_run(tmp_path / "run")
    write(tmp_path, {**search_of(), "places": 7})  # type: ignore[typeddict-item]
    assert compare_command(monkeypatch, tmp_path) == 1
    line = f"error: {tmp_path / 'search.json'} is damaged (search.json: places is 7, expected text)"
    assert capsys.readouterr().err.startswith(line)
    assert not (tmp_path / "comparison.html").exists()
