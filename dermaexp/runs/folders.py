"""New folders: their names, and the removal of those in which nothing was run."""

from __future__ import annotations

import itertools
import re
import shutil
from datetime import datetime
from pathlib import Path

from dermaexp.runs.directory import shortened
from dermaexp.runs.locks import LOCK

_created: list[str] = []  # by this process
UNUSED = {"multirun.yaml", LOCK}  # all that a sweep without a job leaves


def new_folder(path: str) -> str:
    """Create `path`, or `path-2`, `path-3`, … if it is taken, and return the one created.

    Creating it at once gives two runs that start in the same second a folder each.
    """
    for attempt in itertools.count(1):
        folder = Path(path if attempt == 1 else f"{path}-{attempt}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        _created.append(str(folder))
        return str(folder)
    raise AssertionError("unreachable: the count has no end")


def dated_folder(parent: str) -> Path:
    """Create and return a new folder in `parent` that is named by date and time."""
    return Path(new_folder(f"{parent}/{datetime.now():%Y-%m-%d/%H-%M-%S}"))


def make(folder: Path) -> None:
    """Create `folder`; a new one is removed at the end if nothing was run in it."""
    if not folder.exists():
        folder.mkdir(parents=True)
        _created.append(str(folder))


def portable(name: str) -> str:
    """The name in characters and of a length that every file system allows."""
    return shortened(re.sub(r"[^\w.,=+-]+", "-", str(name)))


def remove_unused() -> None:
    """Remove the new folders in which nothing was run, such as that of a sweep with a typo."""
    for folder in map(Path, _created):
        if folder.is_dir() and {entry.name for entry in folder.iterdir()} <= UNUSED:
            shutil.rmtree(folder)
