"""`python -m dermaexp ls [DIR] [WORD …]`: the runs and sweeps there are, and how they stand."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from dermaexp.core.console import console, print_table
from dermaexp.core.errors import UserError
from dermaexp.core.given_once import Flags
from dermaexp.core.grid import Grid
from dermaexp.core.text import age_text, runs_text, size_text
from dermaexp.runs.collect import Run, read_runs
from dermaexp.runs.locks import is_locked

FOLDERS = ("outputs", "multirun")
COLUMNS = {
    "path": "run or sweep",
    "status": "status",
    "runs": "runs",
    "data": "data",
    "val": "val AUROC",
    "test": "test AUROC",
    "age": "age",
    "size": "size",
}
TEXTS = ("path", "status", "data")
NARROW = 104  # characters of a terminal, below which the columns with the least to say are left out
LEAST = ("runs", "age", "size")
WORST = (  # a sweep's is its worst run's; a search prunes as it is meant to
    "running",
    "damaged",
    "failed",
    "interrupted",
    "finished",
    "pruned",
)


class Entry(NamedTuple):
    """A row: a run, or a sweep as its runs together."""

    path: Path
    status: str
    runs: int | None  # of a sweep
    data: str
    val: float | None  # macro AUROC; a sweep's two are those of its best run by val
    test: float | None
    seconds: float  # since it ended, or began
    size: int  # bytes of all its files
    words: str  # in which a filter looks


ORDER = {  # the first row is
    "age": lambda entry: entry.seconds,  # the newest
    "score": lambda entry: float("inf") if entry.val is None else -entry.val,  # the best by val
    "size": lambda entry: -entry.size,  # the largest
}


def main() -> None:
    """Print the table of runs; UserError where there is none."""
    given = _parser().parse_args(namespace=Flags())
    words = list(given.words)
    if words and (Path(words[0]).is_dir() or os.sep in words[0]):
        folders = [Path(words.pop(0))]
    else:
        folders = [Path(name) for name in FOLDERS if Path(name).is_dir()]
    if not folders:
        raise UserError(f"there is no {' or '.join(FOLDERS)} here: give a folder, ls DIR")
    found = [entry for folder in folders for entry in entries(folder, read_runs([folder]))]
    shown = [entry for entry in found if _has_all(entry, words)]
    if not shown:
        raise UserError(
            f"none of {len(found):,} runs and sweeps has {' and '.join(words)} in its path, "
            "name or overrides: expected a folder first, then words"
        )
    shown.sort(key=ORDER[given.sort])
    is_narrow = console.width < NARROW
    rows = [_row(entry, in_two_lines=is_narrow) for entry in shown]
    left_out = set(LEAST) - {given.sort} if is_narrow else set()
    columns = {key: text for key, text in COLUMNS.items() if key not in left_out}
    size = size_text(sum(entry.size for entry in shown))
    total = f"{runs_text(sum(entry.runs or 1 for entry in shown))}, {size}"
    print_table(" ".join(map(str, folders)), Grid.of(columns, rows, TEXTS), note=total)


def entries(folder: Path, runs: Iterable[Run]) -> Iterator[Entry]:
    """Yield a row for each run below `folder`, and one for all the runs of a sweep below it."""
    now = datetime.now(UTC)
    sweeps: dict[Path, list[Entry]] = {}
    is_sweep: dict[Path, bool] = {}
    for run in runs:
        path = run.directory.path
        above = [place for place in path.parents if folder in place.parents]
        for place in above:
            if place not in is_sweep:
                is_sweep[place] = (place / "multirun.yaml").is_file()
        sweep = next((place for place in above if is_sweep[place]), None)
        if sweep is None:
            yield _entry(run, now)
        else:
            sweeps.setdefault(sweep, []).append(_entry(run, now))
    for sweep, jobs in sweeps.items():
        yield _entry_of_sweep(sweep, jobs)


def _entry(run: Run, now: datetime) -> Entry:
    path = run.directory.path
    is_damaged = not run.record or (run.finished and not run.metrics)
    is_stale = run.status == "running" and run.reason is not None
    time = run.record.get("finished") or run.record.get("started")
    return Entry(
        path=path,
        status="damaged" if is_damaged else "interrupted" if is_stale else run.status,
        runs=None,
        data=str(run.data.get("name", "")),
        val=run.score("val", "macro_auroc") if run.metrics else None,
        test=run.score("test", "macro_auroc") if run.metrics else None,
        seconds=now.timestamp() - _timestamp(time, path),
        size=_size(path),
        words=" ".join((str(path), run.name, *run.record.get("overrides", []))).casefold(),
    )


def _entry_of_sweep(sweep: Path, jobs: Sequence[Entry]) -> Entry:
    best = min(jobs, key=ORDER["score"])
    states = {job.status for job in jobs} | ({"running"} if is_locked(sweep) else set())
    return Entry(
        path=sweep,
        status=next(status for status in WORST if status in states),
        runs=len(jobs),
        data=Counter(job.data for job in jobs).most_common(1)[0][0],
        val=best.val,
        test=best.test,
        seconds=min(job.seconds for job in jobs),
        size=_size(sweep),
        words=" ".join(job.words for job in jobs),
    )


def _timestamp(time: str | None, path: Path) -> float:
    """Seconds since 1970 of the `time` in run.json; where there is none, of the folder's change."""
    try:
        return datetime.fromisoformat(time or "").timestamp()
    except ValueError:
        return path.stat().st_mtime


def _size(path: str | Path) -> int:
    """Bytes of all files in a folder; a link counts as itself."""
    total = 0
    with os.scandir(path) as content:
        for item in content:
            is_folder = item.is_dir(follow_symlinks=False)
            total += _size(item.path) if is_folder else item.stat(follow_symlinks=False).st_size
    return total


def _has_all(entry: Entry, words: Iterable[str]) -> bool:
    return all(word.casefold() in entry.words for word in words)


def _row(entry: Entry, *, in_two_lines: bool) -> dict[str, Any]:
    """Return the values of a row; `in_two_lines` breaks the path before its last part."""
    parent, slash, name = str(entry.path).rpartition(os.sep)
    path = f"{parent}{slash}\n{name}" if in_two_lines and slash else str(entry.path)
    texts = {"path": path, "age": age_text(entry.seconds), "size": size_text(entry.size)}
    return {**entry._asdict(), **texts}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dermaexp ls",
        usage="%(prog)s [DIR] [WORD ...] [--sort {age,score,size}]",
        description="List runs and sweeps with their status, macro AUROC, age and size; a sweep is "
        "one row, unless it is DIR.",
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="DIR, WORD",
        help="first a folder, default: outputs and multirun; then words that a run must all have "
        "in its path, name or overrides",
    )
    parser.add_argument(
        "--sort", choices=ORDER, default="age", help="newest, best by val or largest first"
    )
    return parser
