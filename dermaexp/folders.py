"""The folders that `conf/config.yaml` asks for: `${new_folder:…}` and `${job_folder:…}`."""

from __future__ import annotations

import itertools
import re
import shutil
from pathlib import Path

_created: list[str] = []  # by this process
LONGEST_NAME = 100  # characters; file systems allow 255 bytes a name


def new_folder(path: str) -> str:
    """Create `path`, or `path-2`, `path-3`, … where it is taken, and return the one created.

    Creating is what makes two runs that start in the same second get a folder each.
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


def job_folder(number: int, overrides: str) -> str:
    """A sweep job's folder: its number and its overrides, in portable characters."""
    return portable(f"{number}_{overrides}").rstrip("_-")


def portable(name: str) -> str:
    """The name, at most LONGEST_NAME long, in characters that every file system allows."""
    return re.sub(r"[^\w.,=+-]+", "-", str(name))[:LONGEST_NAME]


def remove_unused() -> None:
    """Remove the new folders in which nothing was run, as of a sweep with a typo in it."""
    for folder in map(Path, _created):
        if folder.is_dir() and {entry.name for entry in folder.iterdir()} <= {"multirun.yaml"}:
            shutil.rmtree(folder)
