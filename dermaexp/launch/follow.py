"""Processes that watch each other: a sweep watches its jobs, a worker watches its sweep."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dermaexp.core.console import console, print_error
from dermaexp.core.errors import UserError
from dermaexp.runs.directory import RunDirectory

if TYPE_CHECKING:
    from dermaexp.runs.record import RunRecord

INTERVAL = 1.0  # seconds


@contextlib.contextmanager
def ends_reported(sweep: Path) -> Iterator[None]:
    """Print a line for each run below `sweep` that ends meanwhile.

    For jobs whose own output goes elsewhere, such as to Slurm's files.
    """
    known = _ended(sweep)
    stop = threading.Event()

    def look() -> None:
        for name, record in _ended(sweep).items():
            if name not in known or known[name]["finished"] != record["finished"]:
                known[name] = record
                if record.get("status") == "finished":
                    console.print(f"{name}: finished", soft_wrap=True, markup=False)
                else:
                    print_error(f"{name} {record.get('status')}: {record.get('error')}")

    def watch() -> None:
        while not stop.wait(INTERVAL):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        look()


def _ended(sweep: Path) -> dict[str, RunRecord]:
    """Job folder -> run.json of the runs that have ended."""
    records = {}
    for directory in map(RunDirectory, sweep.glob("*/")):
        with contextlib.suppress(OSError, ValueError, UserError):  # not there, damaged or newer
            records[directory.path.name] = directory.read_run()
    return {name: record for name, record in records.items() if record.get("finished")}


@functools.cache  # once a process
def end_with_parent() -> None:
    """End this process soon after the process that started it, even if that one is killed."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(INTERVAL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
