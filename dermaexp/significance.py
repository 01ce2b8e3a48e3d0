"""When a p value is called a difference, and how it is written."""

from __future__ import annotations

import math

LEVEL = 0.05  # of all claims on a metric together
SMALLEST_P = 0.0001  # smaller ones are only said to be below it


def p_text(p: float, least: float = 0.0) -> str:
    """ "p = 0.031", or "p < 0.0001" below that or below what draws can resolve."""
    if p > least and p >= SMALLEST_P:
        # Never as the level itself, which would not tell on which side of it p lies.
        return f"p = {p:.2g}" if float(f"{p:.2g}") != LEVEL else f"p = {p:.3g}"
    bound = max(least, SMALLEST_P)
    digit = 10.0 ** math.floor(math.log10(bound))
    return f"p < {math.ceil(round(bound / digit, 2)) * digit:.1g}"
