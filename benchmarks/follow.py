"""Measure what following 2,000 jobs costs of a core: python -m benchmarks follow

The jobs are fake, on a local disk; of those that run, none ends or ten end each second.
Baseline: every run.json read each second, in plain Python.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Spread, Table, compared
from dermaexp.core.console import quiet
from dermaexp.launch.follow import ends_reported
from dermaexp.runs.directory import RunDirectory

JOBS = 2000
SECONDS = 20
ROUNDS = 2
DATA = {"name": "Data", "fingerprint": "0" * 64, "test_fingerprint": "1" * 64, "synthetic": True}
RECORD = {
    "schema": 1,
    "status": "running",
    "started": "2026-01-01T12:00:00+00:00",
    "finished": None,
    "command": "python -m dermaexp -m model=cnn",
    "git_commit": None,
    "code_digest": "0" * 64,
    "versions": {f"package{number}": "1.2.3" for number in range(10)},
    "platform": "Linux",
    "name": "cnn",
    "overrides": ["model=cnn"],
    "choices": {"model": "cnn"},
    "seed": 0,
    "config": {f"group{group}": dict.fromkeys("abcdefgh", 0.001) for group in range(10)},
    "config_digest": "0" * 64,
    "own_code": {},
    "data": {**DATA, "split": {"kind": "official"}},
    "device": {"type": "cpu", "name": "cpu"},
}


def folder_of(sweep: Path, job: int) -> Path:
    return sweep / f"model=cnn,seed={job}-00000000"


def write_jobs(sweep: Path) -> None:
    text = json.dumps(RECORD, indent=2)
    for job in range(JOBS):
        folder_of(sweep, job).mkdir()
        (folder_of(sweep, job) / "run.json").write_text(text)


def end_some(sweep: Path, each_second: int) -> None:
    """End jobs, as other processes do, until it is stopped from outside."""
    ended = RECORD | {"status": "finished", "finished": "2026-01-01T12:01:00+00:00"}
    for job in range(JOBS if each_second else 0):
        RunDirectory(folder_of(sweep, job)).write_run(ended)
        time.sleep(1 / each_second)


def reading_all(sweep: Path) -> None:
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        for folder in sweep.glob("*/"):
            RunDirectory(folder).read_run()
        time.sleep(1)


def dermaexp(sweep: Path) -> None:
    with ends_reported(sweep):
        time.sleep(SECONDS)


def share_of_a_core(follow: Callable[[Path], None], each_second: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        sweep = Path(folder)
        write_jobs(sweep)
        others = multiprocessing.Process(target=end_some, args=(sweep, each_second))
        others.start()
        cpu, wall = time.process_time(), time.monotonic()
        try:
            follow(sweep)
            return (time.process_time() - cpu) / (time.monotonic() - wall)
        finally:
            others.terminate()
            others.join()


def measure() -> list[Table]:
    rows = []
    for each_second in (0, 10):
        shares: dict[str, list[float]] = {"reading all": [], "dermaexp": []}
        for _ in range(ROUNDS):
            shares["reading all"].append(100 * share_of_a_core(reading_all, each_second))
            with quiet(True):  # no line for each end
                shares["dermaexp"].append(100 * share_of_a_core(dermaexp, each_second))
        rows += compared(
            {name: Spread(values) for name, values in shares.items()}, "reading all", "% of a core"
        )
        for row in rows[-2:]:
            row["ends a second"] = each_second
    return [Table(f"following {JOBS:,} jobs", rows)]
