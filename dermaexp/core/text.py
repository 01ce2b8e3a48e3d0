"""Numbers and counts as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def cell_text(value: object) -> str:
    """A table's cell: four decimals for a fraction, nothing for None."""
    if isinstance(value, float):
        return f"{value:.4f}"
    return "" if value is None else str(value)


def number(value: float | Sequence[float | None] | None) -> str:
    """A number of metrics.json, or the two ends of an interval; None means undefined."""
    if isinstance(value, Sequence):
        low, high = value
        return "\N{EN DASH}" if low is None else f"{low:.3f}\N{EN DASH}{high:.3f}"
    return "undefined" if value is None else f"{value:.4f}"


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


def names_and_values(values: Mapping[str, object]) -> str:
    """ "torch 2.5, numpy 2.1"."""
    return ", ".join(f"{name} {value}" for name, value in values.items())
