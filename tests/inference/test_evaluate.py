"""A run's numbers again, those on other data, and ensembles."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import NO_FIGURES, overridden
from sklearn.metrics import accuracy_score, roc_auc_score

import dermaexp
from dermaexp.core.files import finite
from dermaexp.inference.evaluation import evaluate_own
from dermaexp.inference.repeat import differences
from dermaexp.runs.directory import RunDirectory

Cli = Callable[..., int]
Train = Callable[..., RunDirectory]
NAMES = "dataset.classes=[nevus,melanoma,other]"


@pytest.fixture
def train(cli: Cli, data_file: Path, tmp_path: Path) -> Train:
    """Train a model for two epochs on the small file."""

    def run(folder: str, *options: str) -> RunDirectory:
        data = ["dataset=npz", f"dataset.path={data_file}", NAMES, "epochs=2", "trainer=cpu"]
        words = overridden([*data, *NO_FIGURES], *options)
        assert cli(*words, f"hydra.run.dir={folder}") == 0
        return RunDirectory(tmp_path / folder)

    return run

    return train


@pytest.mark.parametrize(
    "options",
    [
        ["model=cnn", "calibrate=true", "dataset.normalize=true", "callbacks=[default,ema]"],
        ["model=cnn", "checkpoint.test_with=last", "test_time_augment=dihedral"],
        ["model=ffn", "+trainer.limit_test_batches=2", "batch_size=16"],
    ],
)
def test_own_data_give_the_same_numbers_to_the_last_digit(train: Train, options: list[str]) -> None:
    run = train("run", *options)
    stored = run.read_metrics()
    found = dermaexp.load_run(run.path).evaluate()
    assert "numbers equal metrics.json to the last digit" in found.notes[0]
    numbers = json.loads(json.dumps(finite(found.numbers)))
    assert numbers == {key: value for key, value in stored.items() if key in numbers}
    assert {"val", "test", "operating_points"} <= set(numbers)
    assert ("calibration" in numbers) == ("calibrate=true" in options)
    for split, own in found.predictions.items():
        assert (own.probabilities == run.read_predictions()[f"{split}_probabilities"]).all()


def test_it_prints_the_rows_that_the_run_printed(cli: Cli, train: Train, capsys) -> None:
    train("run", "model=ffn")
    tables = [capsys.readouterr().out]
    assert cli("evaluate", "run") == 0
    tables.append(capsys.readouterr().out)
    rows = [
        [line.split() for line in table.splitlines() if "melanoma s" in line] for table in tables
    ]
    assert len(rows[0]) == 2
    assert rows[0] == rows[1]
    assert "with 95 % specificity on val" in " ".join(tables[1].split())


def test_runs_of_one_name_are_told_apart_by_their_folders(train: Train) -> None:
    runs = [train(folder, "model=ffn", "name=study").path for folder in ("a", "b")]
    found = evaluate_own([RunDirectory(run) for run in runs])
    assert [note.split(": ")[0] for note in found.notes[:2]] == ["a", "b"]


def test_numbers_that_differ_are_reported(train: Train) -> None:
    run = train("run", "model=ffn")
    metrics = dict(run.read_metrics())
    metrics["test"]["loss"] += 0.25  # type: ignore[index]
    (run.path / "metrics.json").write_text(json.dumps(metrics))
    (note,) = dermaexp.load_run(run.path).evaluate().notes
    assert "numbers differ from metrics.json, test.loss the most, by 0.25" in note


def test_differences_are_of_the_numbers_that_both_have() -> None:
    found = differences({"a": {"b": (1.0, float("nan"))}, "c": 2.0}, {"a": {"b": [1.5, None]}})
    assert found == {"a.b[0]": 0.5, "a.b[1]": 0.0}


@pytest.fixture
def other_file(arrays: dict[str, np.ndarray], tmp_path: Path) -> Path:
    """The test images twice as large, with the classes in another order and without one."""
    kept = arrays["test_labels"].ravel() != 2
    content = {}
    for split in ("train", "val", "test"):
        large = arrays["test_images"][kept].repeat(2, axis=1).repeat(2, axis=2)
        content |= {f"{split}_images": large, f"{split}_labels": 1 - arrays["test_labels"][kept]}
    path = tmp_path / "other.npz"
    np.savez(path, **content)
    return path


def test_other_data_match_classes_by_name(train: Train, other_file: Path) -> None:
    run = dermaexp.load_run(train("run", "model=ffn").path)
    other = ["dataset=npz", f"dataset.path={other_file}", "dataset.classes=[melanoma,nevus]"]
    found = run.evaluate(other)
    notes = "; ".join(found.notes)
    assert "test of other has no image of other" in notes
    assert "images of 24 x 24 pixels are resized to the 12 x 12" in notes
    targets = run.predictions["test"].targets
    np.testing.assert_array_equal(found.test.targets, targets[targets != 2])
    answers = run.predict(np.load(other_file)["test_images"])
    np.testing.assert_allclose(found.test.probabilities, answers[run.classes], atol=1e-6)
    names = [run.classes[label] for label in found.test.targets]
    assert found.numbers["test"]["accuracy"] == accuracy_score(names, answers["class"])
    point, own = (
        numbers["operating_points"]["classes"]["melanoma"]  # type: ignore[index]
        for numbers in (finite(found.numbers), run.metrics)
    )
    assert point["threshold"] == own["threshold"], "val of the run chose it"


def test_an_ensemble_is_the_mean_of_probabilities(
    cli: Cli, train: Train, tmp_path: Path, capsys
) -> None:
    runs = [train(f"run{seed}", "model=ffn", f"seed={seed}") for seed in (0, 1)]
    capsys.readouterr()
    assert cli("evaluate", "run0", "run1", "--output", "out") == 0
    output = capsys.readouterr().out
    assert "ensemble of 2 runs" in output
    assert "its best member by val, in macro AUROC" in output
    arrays = [run.read_predictions() for run in runs]
    mean = sum(array["test_probabilities"].astype(float) for array in arrays) / 2
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    auroc = roc_auc_score(arrays[0]["test_targets"], mean, multi_class="ovr")
    assert found["test"]["macro_auroc"] == pytest.approx(auroc)
    assert [run["test"] for run in found["runs"]] == [run.read_metrics()["test"] for run in runs]
    probabilities = np.load(tmp_path / "out" / "predictions.npz")["test_probabilities"]
    np.testing.assert_allclose(probabilities, mean, atol=1e-6)
    assert (tmp_path / "out" / "figures" / "confusion_matrix.png").exists()
    assert "evaluation.json holds the same data" in (tmp_path / "out/evaluation.html").read_text()


def test_bad_input_is_one_line(cli: Cli, train: Train, tmp_path: Path, capsys) -> None:
    train("run", "model=ffn")
    train("two", "model=ffn", "dataset.classes=[nevus,melanoma,rest]")
    capsys.readouterr()
    for arguments, line in (
        (["run", "dataset=synthetic"], "has images of classes that the model does not know"),
        (["run", "model=cnn"], "'model=cnn' is not an override of the dataset"),
        (["run", "dataset=npq"], "dataset=npq is unknown: did you mean 'npz'?"),
        (["dataset=synthetic"], "no run is given"),
        (["nowhere"], "nowhere is no run directory"),
        (["run", "two"], "the runs were tested on different images"),
        (["run", "two", "--split", "val"], "an ensemble needs the same"),
    ):
        assert cli("evaluate", *arguments) == 1
        error = capsys.readouterr().err
        assert line in error
        assert error.count("\n") == 1
    assert not list(tmp_path.glob("evaluations/*/*")), "nothing is left"


def test_the_training_images_are_said_to_be_optimistic(train: Train) -> None:
    found = dermaexp.load_run(train("run", "model=ffn").path).evaluate(split="train")
    assert len(found.test.targets) == 120
    assert "the model was trained on these images" in found.notes[0]
