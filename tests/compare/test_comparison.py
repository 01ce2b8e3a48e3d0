"""Comparisons: groups of seeds, their order, what is said of them, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import OTHER_DATA, RUN_CLASSES, RUN_TARGETS, compare_command, notes, rows, write_run
from PIL import Image
from scipy.stats import binomtest, ttest_1samp
from sklearn.metrics import confusion_matrix

from dermaexp.compare.comparison import comparison_of
from dermaexp.compare.output import compare
from dermaexp.compare.run_groups import RunGroup
from dermaexp.compare.significance import sentence
from dermaexp.core.errors import UserError
from dermaexp.core.files import write_bytes
from dermaexp.metrics import significance
from dermaexp.metrics.baseline import Baseline, baseline_of
from dermaexp.metrics.significance import Difference, p_text
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.locks import locked
from dermaexp.training.run_metrics import run_metrics


@pytest.mark.slow
def test_means_deviations_and_ranks_by_hand(tmp_path: Path) -> None:
    """Ranked by val, though ffn is better on test."""
    for seed, (val, wrong) in enumerate([(0.7, 10), (0.8, 20), (0.9, 30)]):
        write_run(tmp_path / f"ffn{seed}", "ffn", seed, val, wrong)
    for seed, (val, wrong) in enumerate([(0.85, 40), (0.95, 50)]):
        write_run(tmp_path / f"cnn{seed}", "cnn", seed, val, wrong)
    assert compare(tmp_path) == 0
    cnn, ffn, baseline = rows(tmp_path)
    assert (cnn["rank"], cnn["model"], cnn["n"], cnn["seeds"]) == ("1", "cnn", "2", "0 1")
    assert (ffn["rank"], ffn["model"], ffn["n"], ffn["seeds"]) == ("2", "ffn", "3", "0 1 2")
    numbers = {
        "val_macro_auroc": 0.8,
        "val_macro_auroc_sd": 0.1,
        "test_accuracy": 0.8,
        "test_accuracy_sd": 0.1,
        "best_epoch": 2.0,
        "seconds": 2.0,
    }
    assert {key: float(ffn[key]) for key in numbers} == pytest.approx(numbers)
    assert float(cnn["test_accuracy_sd"]) == pytest.approx(0.1 / 2**0.5)
    assert baseline["name"] == 'majority baseline: always "b"'
    assert float(baseline["test_accuracy"]) == 0.5
    assert float(baseline["test_balanced_accuracy"]) == pytest.approx(1 / 3)
    assert float(baseline["test_macro_f1"]) == pytest.approx((2 * 50 / 150) / 3)
    runs = rows(tmp_path, "runs")
    found = [(run["rank"], run["model"], run["seed"], run["folder"]) for run in runs]
    assert found == [
        ("1", "cnn", "0", "cnn0"),
        ("1", "cnn", "1", "cnn1"),
        ("2", "ffn", "0", "ffn0"),
        ("2", "ffn", "1", "ffn1"),
        ("2", "ffn", "2", "ffn2"),
    ]
    assert [float(run["test_accuracy"]) for run in runs] == pytest.approx([0.6, 0.5, 0.9, 0.8, 0.7])


def test_a_group_that_a_config_leaves_out_has_its_option(tmp_path: Path) -> None:
    for option, wrong in [("none", 10), ("linear_probe", 20)]:
        part = {} if option == "none" else {"finetune": {"_target_": "Finetune"}}
        config = {"seed": 0, "epochs": 3, **part}
        choices = {"model": "cnn", "finetune": option}
        write_run(tmp_path / option, "cnn", 0, 0.9, wrong, config=config, choices=choices)
    assert compare(tmp_path) == 0
    assert {row["finetune"] for row in rows(tmp_path)[:2]} == {"none", "linear_probe"}


def test_seeds_with_other_initial_weights_are_no_run_group(tmp_path: Path) -> None:
    for seed, digest in enumerate("aab"):
        initial = {"file": "w.pt", "sha256": digest}
        write_run(tmp_path / f"cnn{seed}", "cnn", seed, 0.9, initial_weights=initial)
    assert compare(tmp_path) == 0
    assert sorted(row["seeds"] for row in rows(tmp_path)[:2]) == ["0 1", "2"]


def test_what_was_tested_with_its_last_epoch_has_no_best_one(tmp_path: Path) -> None:
    for seed, tested_with in enumerate(["best", "last"]):
        directory = write_run(tmp_path / f"cnn{seed}", "cnn", seed)
        directory.write_metrics(directory.read_metrics() | {"tested_with": tested_with})
    assert compare(tmp_path) == 0
    assert rows(tmp_path)[0]["best_epoch"] == "", "no mean over one of two"
    assert [run["best_epoch"] for run in rows(tmp_path, "runs")] == ["1", ""]


@pytest.mark.slow
def test_an_undefined_val_auroc_ranks_last(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "ffn", 0, val=0.9)
    write_run(tmp_path / "b", "ffn", 1, val=None)
    write_run(tmp_path / "c", "cnn", 0, val=0.1)
    compare(tmp_path)
    first, last, _ = rows(tmp_path)
    assert (first["model"], last["model"], last["val_macro_auroc"]) == ("cnn", "ffn", "")
    assert "undefined" in (tmp_path / "leaderboard.md").read_text()


def test_one_seed_each_is_tested_by_mcnemar(tmp_path: Path) -> None:
    """Right on 80 and 60 of the same images: 20 to 0, p = 2 / 2**20."""
    write_run(tmp_path / "a", "cnn", val=0.9, wrong=20)
    write_run(tmp_path / "b", "ffn", val=0.8, wrong=40)
    ((pair,),) = (table.evidence.pairs for table in comparison_of([tmp_path]).tables)
    accuracy = pair.findings["accuracy"]
    assert accuracy.p == pytest.approx(2 / 2**20)
    assert accuracy.words.startswith("model=cnn beats model=ffn in accuracy: +20.0 points, 95 % CI")
    assert accuracy.words.endswith(", p < 0.0001 (one seed each)")
    assert set(pair.findings) == {"accuracy", "balanced_accuracy", "macro_auroc"}


def test_the_best_on_val_may_be_beaten_on_test(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "cnn", val=0.9, wrong=40)
    write_run(tmp_path / "b", "ffn", val=0.8, wrong=20)
    write_run(tmp_path / "c", "mlp", val=0.7, wrong=39)
    ffn, mlp = comparison_of([tmp_path]).tables[0].evidence.pairs
    assert ffn.best.label == "model=cnn"
    assert ffn.findings["accuracy"].words.startswith("model=ffn beats model=cnn in accuracy: +20.0")
    words = mlp.findings["accuracy"].words
    assert words.startswith("no difference shown between model=cnn and model=mlp in accuracy: -1.0")
    assert words.endswith("p = 1 (one seed each)")
    assert ffn.findings["accuracy"].p == pytest.approx(2 * 2 / 2**20), "Holm: of two, the smaller"


def test_seeds_that_differ_make_no_claim(tmp_path: Path) -> None:
    """The images alone would separate the means; the seeds reach from 60 to 90 of 100."""
    for seed, wrong in enumerate([10, 25, 40]):
        write_run(tmp_path / f"a{seed}", "cnn", seed, 0.9, wrong)
    for seed, wrong in enumerate([36, 37, 38]):
        write_run(tmp_path / f"b{seed}", "ffn", seed, 0.8, wrong)
    accuracies = [[0.9, 0.75, 0.6], [0.64, 0.63, 0.62]]
    correct = [
        np.arange(100) >= 100 * (1 - np.array(group)[:, None]) - 1e-9 for group in accuracies
    ]
    assert significance.sign_flip_exact(*correct) < 0.001
    (table,) = comparison_of([tmp_path]).tables
    finding = table.evidence.pairs[0].findings["accuracy"]
    assert finding.difference.estimate == pytest.approx(0.12)
    assert finding.p > 0.05
    assert "one seed" not in finding.words
    assert "100 test images" in table.evidence.method and "10,000" in table.evidence.method


def test_varied_keys_are_of_runs_with_the_same_option(tmp_path: Path) -> None:
    """The depth belongs to another model; only the CNNs' widths vary."""
    cnn = [{"model": {"width": width}} for width in (16, 32)]
    write_run(tmp_path / "a", "ffn", config={"model": {"depth": 4}})
    write_run(tmp_path / "b", "cnn", seed=1, config=cnn[0])
    write_run(tmp_path / "c", "cnn", seed=2, config=cnn[1])
    comparison = comparison_of([tmp_path])
    assert comparison.varied == {"model": "model", "model.width": "width"}
    write_run(tmp_path / "a", "ffn", config={"model": {"depth": 4, "width": 8}})
    labels = {group.label for group in comparison_of([tmp_path]).tables[0].groups}
    assert labels == {"model=ffn", "model=cnn model.width=16", "model=cnn model.width=32"}


def test_experiments_go_by_their_names(tmp_path: Path) -> None:
    """They differ in nearly every key: only what varies within one of them is named beside it."""
    for folder, experiment, model, epochs, gray in (
        ("a", "quick", "cnn", 24, False),
        ("b", "notebook", "ffn", 10, True),
        ("c", "notebook", "ffn", 10, False),
    ):
        config = {"epochs": epochs, "dataset": {"grayscale": gray}}
        choices = {"model": model, "dataset": "npz", "experiment": experiment}
        write_run(tmp_path / folder, model, config=config, choices=choices)
    comparison = comparison_of([tmp_path])
    assert list(comparison.varied) == ["experiment", "dataset.grayscale"]
    assert {group.label for group in comparison.tables[0].groups} == {
        "experiment=quick dataset.grayscale=false",
        "experiment=notebook dataset.grayscale=true",
        "experiment=notebook dataset.grayscale=false",
    }


EMA = {"_target_": "pytorch_lightning.callbacks.EMAWeightAveraging", "decay": 0.998}
STOP = {"_target_": "pytorch_lightning.callbacks.EarlyStopping", "patience": 3}


def labels_of(folder: Path, *runs: tuple[str, dict, list[str]]) -> dict[str, set[str]]:
    """Headings and labels of runs with these options of callbacks, callbacks and overrides."""
    for index, (option, callbacks, overrides) in enumerate(runs):
        choices = {"model": "ffn", "optimizer": "adam", "callbacks": option}
        config = {"callbacks": callbacks}
        write_run(folder / str(index), config=config, choices=choices, overrides=overrides)
    comparison = comparison_of([folder])
    groups = comparison.tables[0].groups
    assert compare(folder) == 0
    return {"headings": set(comparison.varied.values()), "labels": {g.label for g in groups}}


@pytest.mark.slow
def test_lists_of_options_go_by_what_was_given(tmp_path: Path) -> None:
    """Hydra names no option where it is a list."""
    found = labels_of(
        tmp_path,
        (None, {}, ["callbacks=[default]"]),
        (None, {"ema": EMA}, ["epochs=3", "callbacks=[default, 'ema']"]),
        ("default", {"mine": STOP}, ["+callbacks.mine=x"]),
    )
    assert found["headings"] == {"callbacks"}
    assert found["labels"] == {
        "callbacks=[default]",
        "callbacks=[default,ema]",
        "callbacks=default",
    }
    markdown = (tmp_path / "leaderboard.md").read_text()
    assert "_target_" not in (tmp_path / "comparison.html").read_text() + markdown


@pytest.mark.slow
def test_keys_within_lists_of_options(tmp_path: Path) -> None:
    found = labels_of(
        tmp_path,
        (None, {"ema": EMA}, ["callbacks=[default,ema]"]),
        (None, {"ema": EMA | {"decay": 0.9}}, ["callbacks=[default,ema]"]),
    )
    assert found == {
        "headings": {"decay"},
        "labels": {f"callbacks.ema.decay={x}" for x in (0.998, 0.9)},
    }


@pytest.mark.slow
def test_components_that_only_some_runs_have(tmp_path: Path) -> None:
    """What lacks one says so, and what is inside is compared among those that have it."""
    found = labels_of(
        tmp_path / "left out",
        ("early", {"stop": STOP}, []),
        ("early", {"stop": STOP | {"patience": 5}}, ["callbacks.stop.patience=5"]),
        ("early", {}, ["~callbacks.stop"]),
    )
    assert found["headings"] == {"stop", "patience"}
    assert found["labels"] == {
        "callbacks.stop=EarlyStopping callbacks.stop.patience=3",
        "callbacks.stop=EarlyStopping callbacks.stop.patience=5",
        "callbacks.stop=null",
    }
    mine = {"_target_": "my.Callback", "every": 2}
    found = labels_of(
        tmp_path / "added",
        ("default", {"x": mine}, ["+callbacks.x._target_=my.Callback", "+callbacks.x.every=2"]),
        ("default", {}, []),
    )
    assert found["headings"] == {"callbacks.x._target_"}
    assert found["labels"] == {
        "callbacks.x._target_=my.Callback",
        "callbacks.x._target_=null",
    }


def test_a_class_of_ones_own_and_keys_that_were_added(tmp_path: Path) -> None:
    for name in ("A", "B"):
        config = {"model": {"_target_": f"my.{name}"}}
        write_run(tmp_path / name, config=config, overrides=[f"model._target_=my.{name}"])
    comparison = comparison_of([tmp_path])
    assert comparison.varied == {"model._target_": "model._target_"}
    assert {g.label for g in comparison.tables[0].groups} == {
        f"model._target_=my.{n}" for n in "AB"
    }
    config = {"trainer": {"max_epochs": 3, "max_time": "00:01"}}
    write_run(tmp_path / "A", config=config, overrides=["+trainer.max_time=00:01"])
    write_run(tmp_path / "B")
    comparison = comparison_of([tmp_path])
    assert {g.label for g in comparison.tables[0].groups} == {
        "trainer.max_time=00:01",
        "trainer.max_time=null",
    }


def test_where_the_data_are_is_not_compared(tmp_path: Path) -> None:
    """The fingerprint stands for the path, unless the content differs too."""
    for seed, path in enumerate(["x.npz", "/home/anna/x.npz", "../x.npz"]):
        dataset = {"_target_": "npz", "path": path, "grayscale": False}
        write_run(tmp_path / str(seed), seed=seed, config={"dataset": dataset})
    comparison = comparison_of([tmp_path])
    assert comparison.varied == {}
    (group,) = comparison.tables[0].groups
    assert (group.label, group.seeds) == ("ffn", [0, 1, 2])
    data = OTHER_DATA | {"test_fingerprint": "1f5"}
    dataset = {"_target_": "npz", "path": "other.npz", "grayscale": False}
    write_run(tmp_path / "3", config={"dataset": dataset}, data=data)
    labels = {group.label for group in comparison_of([tmp_path]).tables[0].groups}
    assert labels == {"dataset.path=x.npz", "dataset.path=other.npz"}


def test_derived_keys_are_no_columns(tmp_path: Path) -> None:
    """trainer.max_epochs is ${epochs}; the callbacks' option changes no number."""
    write_run(tmp_path / "a", config={"epochs": 3})
    write_run(tmp_path / "b", config={"epochs": 5})
    assert list(comparison_of([tmp_path]).varied) == ["epochs"]
    write_run(tmp_path / "b", config={"epochs": 5}, overrides=["trainer.max_epochs=5"])
    assert list(comparison_of([tmp_path]).varied) == ["epochs", "trainer.max_epochs"]
    choices = {"model": "ffn", "callbacks": "none"}
    write_run(tmp_path / "b", seed=1, config={"callbacks": {}}, choices=choices)
    write_run(tmp_path / "a", config={"callbacks": {}})
    comparison = comparison_of([tmp_path])
    assert comparison.varied == {}
    (group,) = comparison.tables[0].groups
    assert (group.label, group.seeds) == ("ffn", [0, 1])


def test_alike_ends_of_keys_are_written_out(tmp_path: Path) -> None:
    for name, width, lr in (("a", 1, 0.1), ("b", 2, 0.2), ("c", 1, 0.2)):
        config = {"model": {"lr": width}, "optimizer": {"lr": lr, "width": width}}
        write_run(tmp_path / name, config=config)
    varied = comparison_of([tmp_path]).varied
    assert varied == {"model.lr": "model.lr", "optimizer.lr": "optimizer.lr"}


@pytest.mark.slow
def test_what_sets_runs_apart_is_noted(tmp_path: Path) -> None:
    attempt = {"started": "", "command": "", "code_digest": "9" * 64, "git_commit": None}
    attempt["own_code"] = {}
    write_run(tmp_path / "a0", "cnn", 0, 0.9)
    write_run(tmp_path / "a1", "cnn", 1, 0.9, code_digest="1" * 64)
    cuda = {"type": "cuda", "name": "H100"}
    write_run(tmp_path / "a2", "cnn", 2, 0.9, device=cuda, resumed=[attempt, attempt])
    own = {"own_code": {"own_net": "3" * 64}}
    write_run(tmp_path / "a3", "cnn", 3, 0.9, own_code={"own_net": "4" * 64})
    versions = {"torch": "2.5", "timm": "1.0"}  # which others need not have
    write_run(tmp_path / "b0", "ffn", 0, 0.8, versions=versions, **own)
    write_run(tmp_path / "b1", "ffn", 1, 0.8, versions={"torch": "2.5"}, wrong=10)
    more = {"finished": "2026-01-02", "wrong": 50, **own}
    again = write_run(tmp_path / "b1x", "ffn", 1, 0.8, **more)
    comparison = comparison_of([tmp_path])
    assert notes(comparison) == [
        "model=cnn: seed 1 ran other code (commit aaaaaaa, digest 11111111; others commit aaaaaaa, "
        "digest 00000000)",
        "model=cnn: seed 2 ran on cuda, others on cpu",
        f"model=cnn: seed 3 ran other code of the user's: own_net {'4' * 20} instead of {'3' * 20}",
        "model=cnn: seed 2 was resumed by other code (no commit, digest 99999999)",
        "model=ffn: seed 1 was run 2 times: the latest counts",
        "model=ffn: seed 0 ran with torch 2.5 instead of 2.4",
    ]
    assert comparison.tables[0].groups[1].runs[1].directory.path == again.path
    compare(tmp_path)
    assert "seed 2 ran on cuda" in rows(tmp_path)[0]["notes"]
    assert "- model=cnn: seed 2 ran on cuda" in (tmp_path / "leaderboard.md").read_text()


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("2026-01-01T12:30:00+02:00", "2026-01-01T11:00:00+00:00"),  # 10:30 UTC
        ("2025-10-26T02:40:00+02:00", "2025-10-26T02:10:00+01:00"),  # when the clock was put back
        (None, "2026-01-01T11:00:00+00:00"),
        ("yesterday", "1999-01-01T00:00:00Z"),
    ],
)
def test_the_latest_run_is_found_by_the_instant(earlier, later, tmp_path: Path) -> None:
    write_run(tmp_path / "a", finished=later)
    write_run(tmp_path / "b", finished=earlier)
    (group,) = comparison_of([tmp_path]).tables[0].groups
    assert [run.directory.path.name for run in group.runs] == ["a"]


def test_the_majority_is_that_of_train(tmp_path: Path) -> None:
    """Test has equally many images of all classes."""
    targets = np.repeat([0, 1, 2], 20)
    probabilities = np.eye(3, dtype=np.float32)[np.where(np.arange(60) < 12, 0, targets)]
    both = {"val": (targets[10:], probabilities[10:]), "test": (targets, probabilities)}
    numbers = run_metrics(both, np.array([0, 2, 2, 1]), RUN_CLASSES, calibrate=False)
    assert numbers["majority_class"] == "c"
    numbers |= {"data": {"classes": RUN_CLASSES, "samples": {"test": 60}}}
    baseline = baseline_of(numbers)
    assert (baseline.label, baseline.scores["accuracy"]) == ('always "c"', pytest.approx(1 / 3))
    right = np.array(numbers["test"]["confusion_matrix"])
    assert baseline.p_of_one_run(right) == pytest.approx(binomtest(40, 40).pvalue)
    ties = run_metrics(both, np.array([2, 1, 0, 2, 1]), RUN_CLASSES, calibrate=False)
    assert ties["majority_class"] == "b", "the first of the largest"


def test_folds_may_have_other_majorities(tmp_path: Path) -> None:
    """The answers of each fold stand against that fold's own majority."""
    folds, right, constant = [], [], []
    for largest, counts in (("b", (20, 50, 30)), ("c", (10, 60, 40))):
        targets = np.repeat([0, 1, 2], counts)
        answers = np.where(np.arange(len(targets)) % 3 == 0, 2, targets)
        confusion = confusion_matrix(targets, answers)
        folds.append(
            {
                "majority_class": largest,
                "data": {"classes": RUN_CLASSES},
                "test": {"confusion_matrix": confusion.tolist()},
            }
        )
        right.append(answers == targets)
        constant.append(targets == RUN_CLASSES.index(largest))
    baseline = baseline_of(*folds)
    assert baseline.label == 'always "b" or "c"'
    assert baseline.scores["accuracy"] == pytest.approx((50 / 100 + 40 / 110) / 2)
    told = baseline.beside(0.7, 0.01, "it")
    assert "“b” or “c”, the largest training class of each fold, scores" in told
    right, constant = np.concatenate(right), np.concatenate(constant)
    b, c = int((right & ~constant).sum()), int((~right & constant).sum())
    confusions = [np.array(fold["test"]["confusion_matrix"]) for fold in folds]
    assert baseline.p_of_one_run(*confusions) == pytest.approx(binomtest(b, b + c).pvalue)


def test_other_training_data_with_the_same_test_data_are_flagged(tmp_path: Path) -> None:
    write_run(tmp_path / "a", seed=0)
    write_run(tmp_path / "b", seed=1)
    data = OTHER_DATA | {"name": "Data", "test_fingerprint": "1f5"}
    write_run(tmp_path / "c", data=data)
    comparison = comparison_of([tmp_path])
    (table,) = comparison.tables
    assert {group.label for group in table.groups} == {"ffn on Data 1f", "ffn on Data 2e"}
    assert notes(comparison) == [
        "ffn on Data 2e: seed 0 had other training or validation data (Data 2e; others Data 1f)"
    ]


def test_a_group_without_predictions_is_in_no_test(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "cnn", val=0.9)
    write_run(tmp_path / "b", "ffn", val=0.8)
    write_run(tmp_path / "c", "mlp", val=0.7).path.joinpath("predictions.npz").unlink()
    (table,) = comparison_of([tmp_path]).tables
    assert [pair.other.label for pair in table.evidence.pairs] == ["model=ffn"]
    reason = "not every run left a predictions.npz that can be read"
    assert table.notes == [f"model=mlp is in no test: {reason}"]
    write_bytes(tmp_path / "a" / "predictions.npz", b"PK damaged")
    (table,) = comparison_of([tmp_path]).tables
    assert table.evidence.pairs == ()
    assert table.notes == [f"nothing was tested: model=cnn is the best by val, but {reason}"]


@pytest.mark.slow
def test_other_test_data_are_refused_unless_forced(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "in" / "a", "cnn", val=0.7)
    write_run(tmp_path / "in" / "b", "ffn", val=0.9, data=OTHER_DATA)
    write_run(tmp_path / "in" / "c", "ffn", val=0.8)
    assert compare_command(monkeypatch, "in") == 1
    error = capsys.readouterr().err
    assert "(Other, 100 test images | Data, 100 test images)" in error and "--force" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "comparisons").exists()
    assert compare_command(monkeypatch, "in", "--force", "--output", "out") == 0
    found = [(row["rank"], row["model"], row["data"]) for row in rows(tmp_path / "out")]
    assert [row for row in found if row[0]] == [
        ("1", "ffn", "Other"),
        ("1", "ffn", "Data"),
        ("2", "cnn", "Data"),
    ]
    output = capsys.readouterr().out
    assert output.index("Leaderboard on Other") < output.index("Leaderboard on Data")
    assert compare(tmp_path / "in") == 0, "a sweep's end never refuses"
    assert (tmp_path / "in" / "leaderboard.md").read_text().count("## Leaderboard on ") == 2


def test_fewer_test_images_are_other_test_data(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    directory = write_run(tmp_path / "b", config={"trainer": {"limit_test_batches": 1}})
    numbers = directory.read_metrics()
    numbers["data"]["samples"]["test"] = 64
    directory.write_metrics(numbers)
    titles = {table.title for table in comparison_of([tmp_path]).tables}
    assert titles == {f"Leaderboard on Data, {n} test images" for n in (64, 100)}


@pytest.mark.slow
def test_a_sweep_that_still_runs(tmp_path: Path, monkeypatch, capsys) -> None:
    write_bytes(tmp_path / "multirun.yaml", b"")
    write_run(tmp_path / "job2")
    write_run(tmp_path / "job10", status="running")
    write_run(tmp_path / "job9", status="failed", error="no data")
    (tmp_path / "job11" / ".hydra").mkdir(parents=True)
    (write_run(tmp_path / "job12").path / "metrics.json").unlink()
    write_bytes(tmp_path / "job13" / "run.json", b'{"status": ')
    (tmp_path / "notes").mkdir()
    write_run(tmp_path / "job3", status="running")
    with locked(tmp_path / "job10", wait=False):
        assert compare_command(monkeypatch, tmp_path) == 0
    left_out = [(r["folder"], r["status"], r["error"]) for r in rows(tmp_path, "runs")[1:]]
    assert left_out == [
        ("job3", "running", "no process of this machine is at work in it"),
        ("job9", "failed", "no data"),
        ("job10", "running", ""),
        ("job11", "failed", "it left no run.json"),
        ("job12", "finished", "it left no metrics.json"),
        ("job13", "failed", "its run.json cannot be read"),
    ]
    assert "Did not finish or cannot be compared" in capsys.readouterr().out
    assert compare(tmp_path) == 5
    curves = tmp_path / "figures" / "learning_curves.png"
    assert not curves.exists(), "no run kept a history"


def test_runs_that_lack_something_are_listed_not_compared(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a")
    record = run.read_run()
    del record["data"]["test_fingerprint"]
    run.write_run(record)
    comparison = comparison_of([tmp_path])
    assert comparison.tables == ()
    (left_out,) = comparison.left_out
    assert left_out.reason == "its run.json cannot be read: no data.test_fingerprint"


@pytest.mark.slow
def test_any_mix_of_folders_each_run_once(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "outputs" / "2026" / "a", seed=0)
    write_run(tmp_path / "multirun" / "b", seed=1)
    directory = RunDirectory(tmp_path / "multirun" / "b")
    history = {"epoch": 1, "val_accuracy": 0.5, "val_loss": 1.0, "val_macro_auroc": 0.5}
    directory.write_history([history])
    assert compare_command(monkeypatch, "outputs/2026/a", "multirun/b", "outputs") == 0
    (output,) = tmp_path.glob("comparisons/*/*")
    (row, _) = rows(output)
    assert row["seeds"] == "0 1"
    assert {run["folder"] for run in rows(output, "runs")} == {
        "../../../outputs/2026/a",
        "../../../multirun/b",
    }
    assert min(Image.open(output / "figures" / "learning_curves.png").size) > 400
    assert f"comparison: {output}" in capsys.readouterr().out


@pytest.mark.parametrize("missing", [True, False])
def test_bad_input_is_reported_in_one_line(
    missing: bool, tmp_path: Path, monkeypatch, capsys
) -> None:
    folder = tmp_path / "nowhere" if missing else tmp_path
    assert compare_command(monkeypatch, folder) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {folder} {'is not a folder' if missing else 'holds no runs'}")
    assert error.count("\n") == 1
    with pytest.raises(UserError):
        compare(folder)


def test_synthetic_data_are_named_in_every_title(tmp_path: Path, capsys) -> None:
    data = OTHER_DATA | {"name": "Synthetic lesions (SYNTHETIC DATA)", "synthetic": True}
    write_run(tmp_path / "a", data=data)
    compare(tmp_path)
    assert (
        "## Leaderboard on Synthetic lesions (SYNTHETIC DATA)"
        in (tmp_path / "leaderboard.md").read_text()
    )
    assert "Leaderboard on Synthetic lesions (SYNTHETIC DATA)" in capsys.readouterr().out


def test_p_values_are_no_finer_than_the_resamples() -> None:
    assert p_text(0.62) == "p = 0.62"
    assert p_text(0.00136) == "p = 0.0014"
    assert p_text(0.0004) == "p = 0.0004"
    assert p_text(0.00004) == "p < 0.0001"
    assert (p_text(0.0498), p_text(0.0502)) == ("p = 0.0498", "p = 0.0502"), "never the level"
    assert p_text(2e-3, least=2e-3) == "p < 0.002"
    assert p_text(10 * 2 / 10_001, least=10 * 2 / 10_001) == "p < 0.002"


def test_a_difference_in_words(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path / f"a{seed}", "cnn", seed, 0.9)
    write_run(tmp_path / "b", "ffn", 0, 0.8)
    cnn, ffn = comparison_of([tmp_path]).tables[0].groups
    words = sentence(cnn, ffn, "accuracy", Difference(0.0313, 0.014, 0.0482, 0.1), 0.012)
    assert words == (
        "model=cnn beats model=ffn in accuracy: +3.1 points, 95 % CI 1.4 to 4.8, p = 0.012 "
        "(one seed of the second)"
    )
    words = sentence(cnn, cnn, "macro_auroc", Difference(-0.0214, -0.03, -0.0001, 0.1), 0.04)
    assert words == (
        "model=cnn beats model=cnn in macro AUROC: +0.021, 95 % CI 0.000 to 0.030, p = 0.04"
    )


def test_no_torch_is_loaded() -> None:
    code = "import sys, dermaexp.compare; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_group_against_the_majority_baseline(tmp_path: Path) -> None:
    """One run: McNemar's test; several: the seeds must stand against it as well."""
    write_run(tmp_path / "a", "cnn", 0, 0.9, wrong=20)
    group, baseline = only_group(tmp_path)
    right, constant = np.arange(100) >= 20, baseline.predicted[0][0] == RUN_TARGETS
    b, c = int((right & ~constant).sum()), int((~right & constant).sum())
    assert group.p_against(baseline) == pytest.approx(binomtest(b, b + c).pvalue)
    write_run(tmp_path / "b", "cnn", 1, 0.9, wrong=45)
    group, baseline = only_group(tmp_path)
    seeds = ttest_1samp([0.8, 0.55], baseline.scores["accuracy"]).pvalue
    assert group.p_against(baseline) == pytest.approx(seeds)
    (tmp_path / "a" / "predictions.npz").unlink()
    group, baseline = only_group(tmp_path)
    assert np.isnan(group.p_against(baseline))


def only_group(folder: Path) -> tuple[RunGroup, Baseline]:
    (table,) = comparison_of([folder]).tables
    (group,), (baseline,) = table.groups, table.baselines
    return group, baseline
