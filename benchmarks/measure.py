"""How a benchmark measures: the sides take turns, and a table has the median and the spread."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Spread:
    """One measurement's values, a value a round; as text the median and the extremes."""

    values: Sequence[float]
    digits: int = 2

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def over(self, baseline: Spread) -> Spread:
        """Return the ratio to `baseline` in each round, which drifts of the machine leave alone."""
        return Spread([own / base for own, base in zip(self.values, baseline.values, strict=True)])

    def __str__(self) -> str:
        low, middle, high = (
            f"{value:,.{self.digits}f}"
            for value in (min(self.values), self.median, max(self.values))
        )
        return f"{middle} ({low}\N{EN DASH}{high})" if len(self.values) > 1 else middle


@dataclass(frozen=True)
class Table:
    """Rows of one question: text, numbers and spreads under the same headings."""

    title: str
    rows: Sequence[Mapping[str, Any]]
    note: str = ""


def alternate(
    sides: Mapping[str, Callable[[], float | None]], rounds: int = 5, warm_up: bool = True
) -> dict[str, Spread]:
    """Call the `sides` in turn, `rounds` times each, and return their seconds.

    A side that returns a number gives its own seconds; else the call is timed. The `warm_up` is a
    round that doesn't count.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + warm_up):
        for name, side in sides.items():
            started = time.perf_counter()
            own = side()
            taken = time.perf_counter() - started if own is None else own
            if number >= warm_up:
                seconds[name].append(taken)
    return {name: Spread(values) for name, values in seconds.items()}


def compared(sides: Mapping[str, Spread], baseline: str, heading: str = "s") -> list[dict]:
    """Return a row for each side: its name, its seconds, and the ratio to the `baseline`."""
    return [
        {"": name, heading: spread, f"x {baseline}": spread.over(sides[baseline])}
        for name, spread in sides.items()
    ]


def machine() -> dict[str, Any]:
    """Return what the figures depend on: processor, cores, and the versions of torch and Python."""
    import torch

    model = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        lines = [line.partition(":") for line in info.read_text().splitlines()]
        names = [value.strip() for key, _, value in lines if key.strip() == "model name"]
        model = names[0] if names else model
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "gpu": gpu,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def write(name: str, question: str, tables: Sequence[Table]) -> Path:
    """Write the `tables` with all their values to results/NAME.json."""
    content = {
        "question": question,
        "machine": machine(),
        "tables": [
            {
                "title": table.title,
                "rows": [
                    {
                        key: list(value.values) if isinstance(value, Spread) else value
                        for key, value in row.items()
                    }
                    for row in table.rows
                ],
                "note": table.note,
            }
            for table in tables
        ],
    }
    file = RESULTS / f"{name}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content, indent=1) + "\n")
    return file
