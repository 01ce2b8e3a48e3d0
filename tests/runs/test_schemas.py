"""run.json and metrics.json: typed, checked when read, with the number of their schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import make_run

from dermaexp.core.errors import UserError
from dermaexp.core.files import finite
from dermaexp.report.page import write_report
from dermaexp.runs.collect import read_runs
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.schemas import SCHEMA
from dermaexp.training.run_metrics import run_metrics


def change(path: Path, key: str, value: Any) -> None:
    """Give the key, such as seconds.total, another value."""
    content = json.loads(path.read_text())
    node = content
    *parents, last = key.split(".")
    for parent in parents:
        node = node[parent]
    node[last] = value
    path.write_text(json.dumps(content))


def test_both_files_are_read_as_they_were_written(tmp_path: Path) -> None:
    directory = make_run(tmp_path, calibrate=True)
    for name, content in (
        ("run.json", directory.read_run()),
        ("metrics.json", directory.read_metrics()),
    ):
        assert content["schema"] == SCHEMA
        assert content == json.loads((tmp_path / name).read_text())


@pytest.mark.parametrize("name", ["run.json", "metrics.json"])
def test_a_newer_schema_asks_for_an_upgrade(name: str, tmp_path: Path) -> None:
    directory = make_run(tmp_path / "run")
    change(directory.path / name, "schema", SCHEMA + 1)
    line = (
        f"{directory.path / name} was written by a newer dermaexp (schema {SCHEMA + 1}, this one "
        f"knows {SCHEMA}): upgrade"
    )
    with pytest.raises(UserError) as error:
        write_report(directory)
    assert str(error.value) == line
    (run,) = read_runs([tmp_path])
    assert (run.compared, run.reason) == (False, line)


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        (
            "status",
            "done",
            'status is "done", expected running, finished, failed, interrupted or pruned',
        ),
        ("status", "pruned", "no pruned_after"),
        ("seed", True, "seed is true, expected a whole number from 0"),
        ("choices.model", 1, "choices.model is 1, expected text or null"),
        ("overrides", "x", 'overrides is "x", expected a list'),
        ("data.split", {"kind": "grouped"}, "no data.split.folds"),
        ("device", {}, "no device.type"),
    ],
)
def test_a_wrong_value_in_the_record_is_named(key: str, value, line: str, tmp_path: Path) -> None:
    directory = make_run(tmp_path)
    change(tmp_path / "run.json", key, value)
    with pytest.raises(ValueError) as error:
        directory.read_run()
    assert str(error.value) == f"run.json: {line}"


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("seconds.total", float("nan"), "seconds.total is NaN, expected a number"),
        ("val.accuracy", 1.5, "val.accuracy is 1.5, expected a number from 0 to 1"),
        ("val.macro_auroc", "x", 'val.macro_auroc is "x", expected a number from 0 to 1 or null'),
        ("test.intervals.accuracy", [1], "test.intervals.accuracy is [1], expected two numbers"),
        ("data.classes", ["a", "a"], 'data.classes is ["a", "a"], expected different names'),
        ("tested_with", 3, "tested_with is 3, expected best or last"),
        ("majority_class", "x", "majority_class is none of the classes"),
        ("test.confusion_matrix", [[1]], "test.confusion_matrix is not one of 3 classes"),
        ("seconds", {}, "no seconds.data"),
        ("model", "\ud800", "a text in it is no Unicode"),
    ],
)
def test_a_wrong_number_is_named(key: str, value, line: str, tmp_path: Path) -> None:
    directory = make_run(tmp_path)
    change(tmp_path / "metrics.json", key, value)
    with pytest.raises(ValueError) as error:
        directory.read_metrics()
    assert str(error.value) == f"metrics.json: {line}"
    assert not directory.has_results(predictions=False)


def test_a_run_that_failed_early_lacks_what_came_later(tmp_path: Path) -> None:
    directory = make_run(tmp_path, status="failed", error="no data")
    record = json.loads((tmp_path / "run.json").read_text())
    for key in ("name", "overrides", "choices", "seed", "config", "own_code", "data", "device"):
        del record[key]
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert "data" not in directory.read_run()
    (run,) = read_runs([tmp_path])
    assert (run.name, run.data, run.fold, run.reason) == (tmp_path.name, {}, None, "no data")
    change(tmp_path / "run.json", "status", "finished")
    with pytest.raises(ValueError, match="no name"):
        directory.read_run()


def test_an_earlier_run_is_ours_damaged_or_somebody_elses(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    assert directory.read_earlier() is None
    path = tmp_path / "run.json"
    path.write_text('{"name": "mine"}')
    with pytest.raises(UserError, match="was not written by dermaexp: nothing was changed"):
        directory.read_earlier()
    make_run(tmp_path)
    change(path, "seed", "x")
    with pytest.raises(UserError, match="is damaged: move the folder"):
        directory.read_earlier()
    make_run(tmp_path)
    assert directory.read_earlier() == directory.read_run()


@pytest.fixture(scope="module")
def label_numbers() -> dict:
    """What metrics.json holds of two labels an image."""
    targets = np.array([[1, 0], [0, 1], [1, 1], [0, 0]])
    scores = np.array([[0.9, 0.1], [0.2, 0.6], [0.4, 0.8], [0.3, 0.2]])
    predictions = dict.fromkeys(("val", "test"), (targets, scores))
    found = run_metrics(predictions, targets, ["a", "b"], calibrate=False, task="multi-label")
    return json.loads(json.dumps(finite(found)))


def with_labels(folder: Path, numbers: dict) -> RunDirectory:
    """A run whose metrics.json holds those numbers."""
    directory = make_run(folder)
    content = json.loads((folder / "metrics.json").read_text())
    for key in ("majority_class", "calibration"):
        content.pop(key, None)
    content["data"] |= {"classes": ["a", "b"], "task": "multi-label"}
    (folder / "metrics.json").write_text(json.dumps({**content, **numbers}))
    return directory


def test_numbers_of_several_labels_are_read(tmp_path: Path, label_numbers: dict) -> None:
    found = with_labels(tmp_path, label_numbers).read_metrics()
    assert found["majority_labels"] == []
    assert found["test"]["subset_accuracy"] == 0.75


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("majority_labels", ["c"], "majority_labels are not all among the labels"),
        ("data.task", "multi-class", "no majority_class"),
        ("data.task", "x", "data.task is x, expected multi-class, multi-label, ordinal or binary"),
        ("test.confusion_matrices", [[[1]]], "test.confusion_matrices are not 2 tables of 2 by 2"),
        (
            "val.confusion_matrices",
            [[[1, 0], [0, 3]], [[1, 0], [0, 1]]],
            "val.confusion_matrices differ in images",
        ),
        ("test.baseline", None, "test.baseline is null, expected an object"),
        ("test.subset_accuracy", 2, "test.subset_accuracy is 2, expected a number from 0 to 1"),
    ],
)
def test_wrong_numbers_of_labels_are_named(
    key: str, value, line: str, tmp_path: Path, label_numbers: dict
) -> None:
    directory = with_labels(tmp_path, label_numbers)
    change(tmp_path / "metrics.json", key, value)
    with pytest.raises(ValueError) as error:
        directory.read_metrics()
    assert str(error.value).replace('"', "") == f"metrics.json: {line}"
