"""A sweep follows its jobs: each end is reported once, and few files are read meanwhile."""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import write_run

from dermaexp.launch import follow
from dermaexp.launch.follow import Ends, ends_reported, next_pause
from dermaexp.runs.directory import RunDirectory

NOON = "2026-01-01T12:00:00+00:00"


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often run.json was asked for when it was written, "NAME stamp", and read, "NAME read"."""
    counts: Counter[str] = Counter()
    stamp, read = RunDirectory.run_stamp, RunDirectory.read_run

    def counted(run: RunDirectory, word: str) -> RunDirectory:
        counts[f"{run.path.name} {word}"] += 1
        return run

    monkeypatch.setattr(RunDirectory, "run_stamp", lambda run: stamp(counted(run, "stamp")))
    monkeypatch.setattr(RunDirectory, "read_run", lambda run: read(counted(run, "read")))
    return counts


def running(folder: Path) -> None:
    write_run(folder, status="running", finished=None)


def failed(folder: Path, at: str) -> None:
    write_run(folder, status="failed", finished=at, error="no memory")


def test_what_has_not_changed_is_not_read_and_what_finished_is_left_alone(
    tmp_path: Path, looked_at: Counter[str]
) -> None:
    running(tmp_path / "a")
    write_run(tmp_path / "old")
    failed(tmp_path / "bad", NOON)
    (tmp_path / "queued").mkdir()
    (tmp_path / ".submitit").mkdir()
    looked_at.clear()
    ends = Ends(tmp_path)
    assert looked_at == {
        **dict.fromkeys(("a stamp", "a read", "old stamp", "old read"), 1),
        **dict.fromkeys(("bad stamp", "bad read", "queued stamp"), 1),
    }
    looked_at.clear()
    assert [ends.new() for _ in range(3)] == [{}] * 3
    assert looked_at == dict.fromkeys(("a stamp", "bad stamp", "queued stamp"), 3)
    write_run(tmp_path / "a")
    looked_at.clear()
    assert list(ends.new()) == ["a"]
    assert [ends.new() for _ in range(3)] == [{}] * 3
    assert (looked_at["a stamp"], looked_at["a read"]) == (1, 1)


def test_each_end_is_news_once_also_of_a_run_that_is_run_again(tmp_path: Path) -> None:
    failed(tmp_path / "a", NOON)
    ends = Ends(tmp_path)
    running(tmp_path / "a")
    assert ends.new() == {}
    failed(tmp_path / "a", NOON.replace("12:", "13:"))
    assert [list(ends.new()), list(ends.new())] == [["a"], []]
    running(tmp_path / "b")  # a job that starts later
    assert ends.new() == {}
    write_run(tmp_path / "b", finished=NOON)
    assert [list(ends.new()), list(ends.new(last=True))] == [["b"], []]
    write_run(tmp_path / "b", finished=NOON.replace("12:", "14:"))
    assert [list(ends.new()), list(ends.new(last=True))] == [[], ["b"]]


def test_a_damaged_file_is_read_again_when_it_is_written_again(
    tmp_path: Path, looked_at: Counter[str]
) -> None:
    run = write_run(tmp_path / "a").path / "run.json"
    whole = run.read_text()
    run.write_text(whole[:40])
    looked_at.clear()
    ends = Ends(tmp_path)
    assert ends.new() == {}
    run.write_text(json.dumps(json.loads(whole) | {"schema": 99}))
    assert [ends.new(), ends.new()] == [{}, {}], "of a newer version"
    assert looked_at["a read"] == 2
    run.write_text(whole)
    assert list(ends.new()) == ["a"]


def test_the_last_look_trusts_no_stamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network's file system may remember for a minute when a file was written."""
    running(tmp_path / "a")
    monkeypatch.setattr(RunDirectory, "run_stamp", lambda run: (1, 2, 3))
    ends = Ends(tmp_path)
    write_run(tmp_path / "a")
    assert [list(ends.new()), list(ends.new(last=True))] == [[], ["a"]]


def test_a_sweep_whose_folder_cannot_be_listed_has_no_news(tmp_path: Path) -> None:
    assert Ends(tmp_path / "none").new(last=True) == {}


def test_pauses_grow_until_something_ends_and_with_the_cost_of_a_look() -> None:
    assert next_pause(1.0, 0.001, has_news=False) == pytest.approx(1.1)
    assert next_pause(29.0, 0.001, has_news=False) == 30.0
    assert next_pause(30.0, 0.001, has_news=True) == 1.0
    assert next_pause(30.0, 0.1, has_news=True) == pytest.approx(5.0)
    assert next_pause(1.0, 600.0, has_news=False) == 30.0, "after a file system that hung"


def test_a_look_waits_for_its_pause_and_ends_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """With a clock of the test's own, on which each look takes a tenth of a second."""
    pauses = []
    written = threading.Event()

    class Stop:
        def wait(self, pause: float) -> bool:
            written.wait()
            pauses.append(pause)
            return len(pauses) == 4

        def set(self) -> None:
            pass

    class Time:
        now = 0.0

        def monotonic(self) -> float:
            self.now += 0.1
            return self.now

    fake = SimpleNamespace(Thread=threading.Thread, Event=Stop)
    monkeypatch.setattr(follow, "threading", fake)
    monkeypatch.setattr(follow, "time", Time())
    with ends_reported(tmp_path):
        failed(tmp_path / "a", NOON)
        write_run(tmp_path / "b", status="interrupted", finished=NOON)
        write_run(tmp_path / "c")
        write_run(tmp_path / "d", status="pruned", pruned_after=2, finished=NOON)
        written.set()
    output = capsys.readouterr()
    assert output.out == "c: finished\nd: pruned after epoch 2\n"
    assert sorted(output.err.splitlines()) == ["error: a failed: no memory", "error: b interrupted"]
    assert pauses == pytest.approx([1.0, 5.0, 5.5, 6.05])
