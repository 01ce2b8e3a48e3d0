"""A sweep watches its jobs that run elsewhere."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dermaexp.core.console import console, print_error
from dermaexp.core.errors import UserError
from dermaexp.runs.directory import RunDirectory, Stamp

if TYPE_CHECKING:
    from dermaexp.runs.record import RunRecord

SHORTEST, LONGEST = 1.0, 30.0  # seconds between two looks at a sweep
GROWTH = 1.1  # of a pause without news: ends are known after a tenth of the time without them
SHARE = 50  # a pause is at least so many times what a look takes: at most 2 % of a core


@contextlib.contextmanager
def ends_reported(sweep: Path) -> Iterator[None]:
    """Print a line for each run below `sweep` that ends meanwhile.

    For jobs whose own output goes elsewhere, such as to Slurm's files.
    """
    ends = Ends(sweep)
    stop = threading.Event()

    def watch() -> None:
        pause = SHORTEST
        while not stop.wait(pause):
            started = time.monotonic()
            found = ends.new()
            _report(found)
            pause = next_pause(pause, time.monotonic() - started, has_news=bool(found))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        _report(ends.new(last=True))


def next_pause(pause: float, took: float, *, has_news: bool) -> float:
    """Seconds to wait before the next look, from the last `pause` and the seconds a look `took`."""
    pause = SHORTEST if has_news else pause * GROWTH
    return min(max(pause, took * SHARE), LONGEST)


class Ends:
    """The ends of the runs below a sweep's folder, found with few calls while thousands run.

    A look lists the folder and asks when each run.json was written. It reads one only if that
    changed, and leaves runs that have finished alone.
    """

    def __init__(self, sweep: Path) -> None:
        self._sweep = sweep
        self._runs: dict[str, RunDirectory] = {}
        self._stamps: dict[str, Stamp] = {}  # of run.json when it was last read
        self._ended: dict[str, str] = {}  # when the run ended
        self._finished: set[str] = set()
        self.new()  # ends of an earlier start are no news

    def new(self, *, last: bool = False) -> dict[str, RunRecord]:
        """Job folder -> run.json of the runs that have ended since the last look.

        The `last` look misses none: not a finished run that was run again, nor an end that a
        network's file system hides behind the time of writing that it remembers.
        """
        if last:
            self._stamps = {k: stamp for k, stamp in self._stamps.items() if k in self._finished}
        found = {}
        for name in self._folders():
            record = self._written(name) if last or name not in self._finished else None
            if record and record["finished"] and record["finished"] != self._ended.get(name):
                found[name] = record
                self._ended[name] = record["finished"]
                if record["status"] == "finished":
                    self._finished.add(name)
        return found

    def _folders(self) -> list[str]:
        with contextlib.suppress(OSError), os.scandir(self._sweep) as entries:
            return [entry.name for entry in entries if entry.name[0] != "." and entry.is_dir()]
        return []

    def _written(self, name: str) -> RunRecord | None:
        """run.json, if it was written since it was last read."""
        run = self._runs.get(name) or self._runs.setdefault(name, RunDirectory(self._sweep / name))
        try:
            stamp = run.run_stamp()
            if stamp == self._stamps.get(name):
                return None
            self._stamps[name] = stamp
            return run.read_run()
        except OSError:  # it is not there, or cannot be read for the moment
            self._stamps.pop(name, None)
        except (ValueError, UserError):  # damaged or newer
            pass
        return None


def _report(ended: Mapping[str, RunRecord]) -> None:
    for name, record in ended.items():
        if record["status"] == "finished":
            console.print(f"{name}: finished", soft_wrap=True, markup=False)
        elif record["status"] == "pruned":
            line = f"{name}: pruned after epoch {record['pruned_after']}"
            console.print(line, soft_wrap=True, markup=False)
        else:
            reason = record.get("error")
            print_error(f"{name} {record['status']}{f': {reason}' if reason else ''}")
