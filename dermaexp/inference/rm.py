"""`python -m dermaexp rm DIR …`: frees the checkpoints of finished runs, after asking."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from dermaexp.core.console import console, print_table, print_warning
from dermaexp.core.errors import UserError
from dermaexp.core.grid import Grid
from dermaexp.core.text import runs_text, size_text
from dermaexp.runs.collect import Run, read_runs
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.locks import is_locked, locked

SHOWN = 50  # rows in the terminal
COLUMNS = {"run": "run", "files": "checkpoints", "size": "size"}


class Plan(NamedTuple):
    """What is removed and what stays."""

    freed: dict[Path, list[Path]]  # run -> its checkpoints that go
    kept: set[Path]  # checkpoints
    left: int  # how many runs have not finished, or are at work


def main() -> None:
    """Show what would be freed, ask, and remove it; UserError without a terminal or --yes."""
    given = _parser().parse_args()
    plan = planned(given.folders)
    if plan.left:
        console.print(f"left alone, as not finished or at work: {runs_text(plan.left)}")
    if not plan.freed:
        console.print("no checkpoint to free")
        return
    files = [file for files in plan.freed.values() for file in files]
    total = size_text(sum(file.stat().st_size for file in files))
    _show(plan)
    question = f"remove {len(files):,} checkpoint{'' if len(files) == 1 else 's'}, {total}?"
    if not given.yes and not _agreed(question):
        console.print("nothing was removed")
        return
    freed = sum(_remove(path, plan.kept) for path in plan.freed)
    console.print(f"freed {size_text(freed)}")


def planned(folders: Iterable[Path]) -> Plan:
    """Return what `rm` removes in the folders.

    In a run that is the checkpoint that was not tested. In a folder of runs it is those of all but
    the run with the best val macro AUROC on each data set. What one folder keeps, none removes.
    """
    finished: dict[Path, Run] = {}
    others: set[Path] = set()
    kept: set[Path] = set()
    for folder in map(Path.resolve, folders):
        runs = {run.directory.path: run for run in read_runs([folder])}
        here = {path: run for path, run in runs.items() if _is_done(run)}
        finished |= here
        others |= set(runs) - set(here)
        if folder in runs:
            kept.update(*map(_needed, here.values()))
        else:
            kept.update(*(run.directory.checkpoint_files() for run in _best(here.values())))
    freed = {}
    for path, run in finished.items():
        if files := [file for file in run.directory.checkpoint_files() if file not in kept]:
            freed[path] = files
    return Plan(freed, kept, len(others))


def _is_done(run: Run) -> bool:
    return run.finished and bool(run.metrics) and not is_locked(run.directory.path)


def _needed(run: Run) -> list[Path]:
    """The checkpoint that was tested; both where it is not there."""
    is_best = run.metrics["tested_with"] == "best"
    tested = run.directory.best_checkpoint if is_best else run.directory.last_checkpoint
    return [tested] if tested.exists() else run.directory.checkpoint_files()


def _best(runs: Iterable[Run]) -> Iterator[Run]:
    """Yield the best run on each data set; all where no val macro AUROC is defined."""
    of_data: dict[str, list[tuple[float, Run]]] = {}
    for run in runs:
        score = run.score("val", "macro_auroc")
        place = of_data.setdefault(run.source_fingerprint, [])
        place.append((-math.inf if score is None else score, run))
    for scored in of_data.values():
        highest = max(score for score, _ in scored)
        yield from (run for score, run in scored if score == highest)


def _show(plan: Plan) -> None:
    rows = [
        {
            "run": str(path),
            "files": ", ".join(file.name for file in files),
            "size": size_text(sum(file.stat().st_size for file in files)),
        }
        for path, files in plan.freed.items()
    ]
    more = f"… and {len(rows) - SHOWN:,} more\n" if len(rows) > SHOWN else ""
    kept = "\n".join(f"kept: {file}" for file in sorted(plan.kept))
    grid = Grid.of(COLUMNS, rows[:SHOWN], ("run", "files"))
    print_table("checkpoints to remove", grid, note=f"{more}{kept}")


def _agreed(question: str) -> bool:
    """Ask in the terminal; UserError without one."""
    if not sys.stdin.isatty():
        raise UserError(f"{question} There is no terminal to answer in: give --yes")
    try:
        answer = input(f"{question} [y/N] ")
    except EOFError:
        return False
    return answer.strip().casefold() in ("y", "yes")


def _remove(path: Path, kept: set[Path]) -> int:
    """Remove the run's checkpoints but those `kept`; return the bytes, 0 if it is at work now."""
    directory = RunDirectory(path)
    try:
        with locked(path, wait=False):
            if directory.read_run()["status"] == "finished":
                return directory.remove_checkpoints(keep=kept)
    except UserError as error:
        print_warning(str(error))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dermaexp rm",
        description="Free the checkpoints of finished runs, after asking. In a run: the one that "
        "was not tested. In a sweep or another folder: those of all runs but the best by val macro "
        "AUROC on each data set. Numbers, predictions and figures stay.",
    )
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="DIR", help="runs, sweeps, or folders of them"
    )
    parser.add_argument("--yes", action="store_true", help="remove without asking")
    return parser
