"""The summary in the terminal: rows of the task beside those of the operating point."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dermaexp.core.files import finite
from dermaexp.core.tasks import Task
from dermaexp.data.splits import checked_splits
from dermaexp.report.summary import conclude
from dermaexp.training.run_metrics import run_metrics


def printed(task: Task, targets: np.ndarray, scores: np.ndarray, names: tuple, capsys) -> list[str]:
    """The lines of a run with these answers on val and test."""
    images = np.zeros((len(targets), 2, 2), np.uint8)
    arrays = dict.fromkeys(("train", "val", "test"), (images, targets))
    splits = checked_splits("Set", names, arrays, origin="here")
    predictions = dict.fromkeys(("val", "test"), (targets, scores))
    numbers = run_metrics(predictions, targets, names, calibrate=False, task=task)
    ends = {"epochs": 1, "planned_epochs": 1, "ended_by": None}
    samples = dict.fromkeys(("train", "val", "test"), len(targets))
    data = {"classes": names, "samples": samples, "task": task}
    conclude("ffn", splits, json.loads(json.dumps(finite({**numbers, **ends, "data": data}))))
    return capsys.readouterr().out.splitlines()


def test_melanoma_of_two_classes_has_both_its_sensitivities(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 0.5 half of the melanomas are found, at the threshold of val all."""
    targets = np.repeat([0, 1], [20, 4])
    probability = np.where(np.arange(24) < 20, 0.1, 0.3) + np.where(np.arange(24) > 21, 0.4, 0)
    scores = np.column_stack([1 - probability, probability])
    lines = printed("binary", targets, scores, ("nevus", "melanoma"), capsys)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if "│" in line]
    values = {name: cells for name, *cells in rows}
    assert [float(cell) for cell in values["sensitivity"][:2]] == [0.5, 0.5]
    assert [float(cell) for cell in values["melanoma sensitivity"][:2]] == [1.0, 1.0]
    assert float(values["sensitivity"][3]) == 0, "of always answering nevus"
    assert not values["melanoma sensitivity"][3]


def test_accuracy_of_labels_is_explained(capsys: pytest.CaptureFixture) -> None:
    targets = np.array([[1, 0], [0, 1], [1, 1], [0, 0]])
    lines = printed("multi-label", targets, 0.8 * targets, ("mass", "nodule"), capsys)
    assert any("the share of all labels of all images" in line for line in lines)
    assert any("│ subset accuracy" in line for line in lines)
