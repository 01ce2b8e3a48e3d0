"""A lock on a folder in which a process works; it ends with the process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from dermaexp.core.console import console
from dermaexp.core.errors import UserError

LOCK = ".lock"


@contextlib.contextmanager
def locked(folder: Path, *, wait: bool) -> Iterator[None]:
    """Hold `folder` for this process; the lock ends with the process, however that ends.

    Raises UserError if another process holds it, unless `wait` is set.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            raise UserError(
                f"another process is at work in {folder}: wait until it ends, or stop it"
            ) from None
        console.print(f"waiting for another process at work in {folder}", soft_wrap=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def is_locked(folder: Path) -> bool:
    """Whether a process of this machine holds `folder`."""
    if not (folder / LOCK).exists():
        return False
    try:
        with FileLock(folder / LOCK, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # a folder that may only be read
        return False
