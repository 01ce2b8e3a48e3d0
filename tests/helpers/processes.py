"""The processes that a command leaves."""

from __future__ import annotations

import os
from pathlib import Path


def processes_in(folder: Path) -> list[int]:
    """Numbers of the other processes that work in `folder`, where the system lists them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            there = (process / "cwd").readlink() == folder
        except OSError:  # it has ended, or is another user's
            continue
        if there and int(process.name) != os.getpid():
            found.append(int(process.name))
    return found
