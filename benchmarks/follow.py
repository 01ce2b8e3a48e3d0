"""Measure what following 2,000 jobs costs of a core: python benchmarks/follow.py

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

from dermaexp.core.console import console
from dermaexp.launch.follow import ends_reported
from dermaexp.runs.directory import RunDirectory

JOBS = 2000
SECONDS = 30
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


def main() -> None:
    console.quiet = True  # no line for each end
    print(f"{'ends a second':>13} {'follower':12} {'% of a core':>11} {'x baseline':>10}")
    for each_second in (0, 10):
        baseline = None
        for name, follow in (("reading all", reading_all), ("dermaexp", dermaexp)):
            share = share_of_a_core(follow, each_second)
            baseline = baseline or share
            print(f"{each_second:13} {name:12} {100 * share:11.2f} {share / baseline:10.3f}")


if __name__ == "__main__":
    main()
