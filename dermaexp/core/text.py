"""Numbers and counts as text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any


def cell_text(value: Any, undefined: str = "") -> str:
    """A table's cell: four decimals for a fraction, an interval's two ends, nothing for no value.

    `undefined` stands for None.
    """
    if isinstance(value, (list, tuple)):
        return ends(value) or (undefined and "\N{EN DASH}")
    if isinstance(value, float):
        return fixed(value)
    return undefined if value is None else str(value)


def fixed(value: float | None, digits: int = 4) -> str:
    """The number with `digits` decimals; empty if it is undefined (None or NaN)."""
    return "" if value is None or value != value else f"{value:.{digits}f}"


def ends(interval: Sequence[float | None] | None) -> str:
    """The two ends of an interval; empty if there is none or one end is undefined."""
    texts = [fixed(end, 3) for end in interval or ()]
    return "\N{EN DASH}".join(texts) if all(texts) else ""


def percent(share: float, digits: int = 1) -> str:
    """ "95.0 %", with `digits` decimals and a space that does not break."""
    return f"{share:.{digits}%}".replace("%", "\N{NO-BREAK SPACE}%")


def counted(noun: str, numbers: Sequence[int]) -> str:
    """ "fold 3", or "folds 0, 1, 3"."""
    return f"{noun}{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def size_text(count: int) -> str:
    """ "1.2 MB", of a number of bytes."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{max(count / 1e3, 0.1):.1f} kB"


def age_text(seconds: float) -> str:
    """ "3 h", in the largest unit of which there is at least one."""
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{int(seconds // unit)} {name}"
    return f"{max(int(seconds), 0)} s"


def runs_text(number: int) -> str:
    """ "1 run", or "2,000 runs"."""
    return f"{number:,} run{'' if number == 1 else 's'}"


def names_and_values(values: Mapping[str, object]) -> str:
    """ "torch 2.5, numpy 2.1"."""
    return ", ".join(f"{name} {value}" for name, value in values.items())


def markdown_text(text: str) -> str:
    """The text in one line, with tags, entities and links of Markdown escaped."""
    text = re.sub(r"&(?=#?\w+;)", "&amp;", " ".join(text.splitlines()))
    return re.sub(r"<(?=[\w/!?])", "&lt;", text).replace("](", "]\\(")
