"""Damaged runs: each is listed with the reason, the others are compared, nothing ever raises."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import RECORD, compare_command, make_run, rows, write_run

from dermaexp.compare import comparison, significance, tables
from dermaexp.compare.comparison import comparison_of
from dermaexp.core.errors import UserError
from dermaexp.core.files import write_bytes
from dermaexp.report.page import write_report
from dermaexp.runs.directory import HISTORY_COLUMNS, RunDirectory

COMPARED = {
    "choices": {"model": "cnn", "callbacks": None},
    "git_commit": "a" * 40,
    "resumed": [
        {
            "started": "2026-01-02",
            "command": "",
            "code_digest": "1",
            "git_commit": None,
            "own_code": {},
        }
    ],
}
SPLIT = {"kind": "grouped", "folds": 2, "fold": 1, "pool_fingerprint": "9"}
WRONG = (1, -1.5, 1e300, "x", "\ud800", True, [], [None], {}, {"x": []})
ABSENT = object()


BY_CLASS = ("per_class", "per_class_accuracy", "classes", "class_shares")


def paths(node: Any, path: tuple = ()) -> Iterator[tuple]:
    """Of every value; one stands for all items of a list, and for all classes."""
    if path:
        yield path
    children = list(node.items() if isinstance(node, dict) else enumerate(node))
    alike = isinstance(node, list) or path[-1:] in {(key,) for key in BY_CLASS}
    for key, child in children[:1] if alike else children:
        if isinstance(child, (dict, list)):
            yield from paths(child, (*path, key))
        else:
            yield (*path, key)


def mutations(content: Any) -> Iterator[tuple[str, Any]]:
    """The content with one value missing, null or of another kind, and which it is."""
    kinds = itertools.cycle(WRONG)
    for path in paths(content):
        for value in (ABSENT, None, next(kinds)):
            changed = copy.deepcopy(content)
            node = changed
            for key in path[:-1]:
                node = node[key]
            if value is ABSENT:
                del node[path[-1]]
            else:
                node[path[-1]] = value
            yield f"{'.'.join(map(str, path))}={value!r}", changed


@pytest.mark.slow
@pytest.mark.parametrize("name", ["run.json", "metrics.json"])
def test_no_value_of_any_key_raises(name: str, tmp_path: Path, monkeypatch) -> None:
    """Reading, comparing and a run's page: they list it or do without."""
    monkeypatch.setattr(
        comparison, "compare_with_best", partial(significance.compare_with_best, resamples=20)
    )
    monkeypatch.setattr("dermaexp.core.files.os.fsync", lambda _: None)
    data = RECORD["data"] | {"split": SPLIT}
    folder = tmp_path / "runs"
    make_run(folder / "good", data=data, **COMPARED)
    damaged = make_run(folder / "x", seed=8, data=data, **COMPARED)
    for file in (*damaged.figures.iterdir(), damaged.path / "history.csv"):
        file.unlink()
    content = json.loads((damaged.path / name).read_text())
    if name == "metrics.json":
        content["test_leaked"] = content["test"] | {"samples": 1, "class_shares": {"melanoma": 0}}
        content["test_clean"] = None
        content["data"]["groups"] = {"file": "a.csv", "column": "lesion", "fingerprint": "1"}
    seen = set()
    for which, changed in mutations(content):
        (damaged.path / name).write_text(json.dumps(changed))
        try:
            found = comparison_of([folder])
            tables.files(found, tmp_path / "out")
        except Exception as error:
            raise AssertionError(which) from error
        reasons = [str(run.reason) for run in found.left_out]
        assert len(found.runs) + len(reasons) == 2, which
        assert not any("\n" in reason for reason in reasons), which
        seen |= set(reasons)
        try:
            write_report(damaged)
        except UserError as error:
            assert str(error).startswith(f"{damaged.path} holds a file that is damaged: {name}: ")
            assert "\n" not in str(error), which
        except Exception as error:
            raise AssertionError(which) from error
    damage = "status is null, expected running" if name == "run.json" else "seconds.total is null"
    assert any(reason.startswith(f"its {name} cannot be read: {damage}") for reason in seen)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cannot be read"),
        (b'{"status": ', "cannot be read"),
        (b"[]", "cannot be read: a list, expected an object"),
        (b"null", "cannot be read: a NoneType, expected an object"),
        (b"3", "cannot be read: a int, expected an object"),
        (b"[" * 100_000, "cannot be read: maximum recursion"),
        (b"\xff\xfe{}", "cannot be read: 'utf-8' codec"),
        (None, "cannot be read: Is a directory"),
    ],
)
@pytest.mark.parametrize("name", ["run.json", "metrics.json"])
def test_files_that_are_no_objects(name: str, content, reason: str, tmp_path: Path) -> None:
    write_run(tmp_path / "good")
    directory = make_run(tmp_path / "x", **COMPARED)
    path = directory.path / name
    path.unlink()
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    found = comparison_of([tmp_path])
    assert [run.directory.path.name for run in found.runs] == ["good"]
    (left_out,) = found.left_out
    assert left_out.reason.startswith(f"its {name} {reason}")
    assert "\n" not in left_out.reason
    with pytest.raises((UserError, OSError), match=name):
        write_report(directory)


HISTORY = ",".join(HISTORY_COLUMNS)
ROW = ",".join("1" * len(HISTORY_COLUMNS))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it has no column epoch"),
        (f"{HISTORY.replace(',val_loss', '')}\n{ROW[2:]}\n", "it has no column val_loss"),
        (f"{HISTORY}\n{ROW},7,8\n", "line 2 has more values than columns"),
        (f"{HISTORY}\n{ROW}\nx{ROW[1:]}\n", "could not convert string to float: 'x'"),
        (f"{HISTORY}\n\0", "line 2 has fewer values than columns"),
        (f"{HISTORY},mine\n{ROW},text\n", None),
        (f"{HISTORY}\n{ROW}\n1,2\n", "line 3 has fewer values than columns"),
        (f"{HISTORY}\n", None),
    ],
)
def test_histories(text: str, reason: str | None, tmp_path: Path, monkeypatch, capsys) -> None:
    """A run counts without its history; the tables say so."""
    directory = make_run(tmp_path / "x", **COMPARED)
    (directory.path / "history.csv").write_text(text)
    (run,) = comparison_of([tmp_path]).runs
    told = f"its history.csv cannot be read: {reason}" if reason else ""
    assert run.damage.startswith(told) and bool(run.damage) == bool(told)
    if reason:
        with pytest.raises(UserError, match=f"damaged: history.csv: {reason[:20]}"):
            write_report(directory)
        if "\0" in text:
            assert compare_command(monkeypatch, tmp_path, "--output", tmp_path / "out") == 0
            assert f"note: x: {told}" in capsys.readouterr().out
            assert rows(tmp_path / "out", "runs")[0]["error"] == run.damage
            for file in ("leaderboard.md", "comparison.html"):
                assert told in (tmp_path / "out" / file).read_text()
    else:
        assert "mine" not in write_report(directory).read_text()


GOOD = {
    "test_probabilities": np.full((100, 3), 1 / 3, np.float32),
    "test_targets": np.arange(100) % 3,
}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"test_probabilities": np.full((100, 2), 0.5, np.float32)},
            "is not of the 100 test images",
        ),
        ({"test_targets": np.arange(99) % 3}, "is not of the 100 test images and 3 classes"),
        ({"test_targets": np.arange(100)}, "holds classes that metrics.json does not know"),
        ({"test_targets": np.full(100, "a")}, "holds other things than probabilities"),
        ({"test_probabilities": np.full((100, 3), np.nan, np.float32)}, "that are no numbers"),
        ({"test_targets": np.array([{}] * 100, object)}, "cannot be read: Object arrays"),
        ({"test_targets": None}, "has no test_targets"),
    ],
)
def test_predictions(changes: dict, reason: str, tmp_path: Path) -> None:
    """Seeds of one group, of which one has other predictions than its numbers say."""
    directory = write_run(tmp_path / "a")
    write_run(tmp_path / "b", seed=1)
    write_run(tmp_path / "c", "cnn")
    arrays = {key: value for key, value in (GOOD | changes).items() if value is not None}
    np.savez(directory.path / "predictions.npz", **arrays)
    found = comparison_of([tmp_path])
    (run,) = found.damaged
    assert run.directory.path.name == "a" and reason in run.damage
    assert "nothing was tested" in found.tables[0].notes[0] or found.tables[0].evidence.pairs == ()


@pytest.mark.parametrize("content", [b"", b"PK damaged", b"\x93NUMPY\x01\x00"])
def test_predictions_that_are_no_archive(content: bytes, tmp_path: Path) -> None:
    directory = write_run(tmp_path / "a")
    write_bytes(directory.path / "predictions.npz", content)
    (run,) = comparison_of([tmp_path]).damaged
    assert run.damage.startswith("its predictions.npz cannot be read: ")


def test_other_classes_than_the_others_have(tmp_path: Path) -> None:
    """Counts of other classes have no sum with those of the other seeds."""
    for seed in range(3):
        directory = write_run(tmp_path / str(seed), seed=seed)
    numbers = directory.read_metrics()
    numbers["data"]["classes"] = ["a", "b"]
    for split in ("val", "test"):
        numbers[split]["confusion_matrix"] = [[60, 10], [10, 20]]
    directory.write_metrics(numbers)
    (left_out,) = comparison_of([tmp_path]).left_out
    assert left_out.reason.startswith("its metrics.json knows 2 classes (a, b), those of others")


def test_runs_are_found_by_name(tmp_path: Path) -> None:
    """Where nothing of a run can be read, it is a run nevertheless."""
    write_run(tmp_path / "good")
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "run.json").symlink_to(tmp_path / "nowhere")
    (left_out,) = comparison_of([tmp_path]).left_out
    assert left_out.reason == "it left no run.json"
    assert not RunDirectory(tmp_path / "link").has_run()
