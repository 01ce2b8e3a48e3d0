"""How long the parts of a run take."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


class Clock:
    """Seconds of each named part, and of all since the clock was made."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._parts: dict[str, float] = {}

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the time spent inside to the part called `name`."""
        started = time.perf_counter()
        yield
        self._parts[name] = self._parts.get(name, 0.0) + time.perf_counter() - started

    def seconds(self) -> dict[str, float]:
        """Part -> seconds, and "total", which also has what is in no part."""
        total = time.perf_counter() - self._started
        return {name: round(value, 3) for name, value in {**self._parts, "total": total}.items()}
