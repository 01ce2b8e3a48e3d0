"""Overrides as text: values quoted for Hydra, arguments as they must be typed in a shell."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from hydra.errors import HydraException

from dermaexp.core.override_grammar import parse_one, with_quotes


def escaped(value: Any) -> Any:
    """The value with every "${" in its text escaped, so that a config keeps it as it is."""
    if isinstance(value, dict):
        return {key: escaped(node) for key, node in value.items()}
    if isinstance(value, list):
        return [escaped(node) for node in value]
    if not isinstance(value, str):
        return value
    return re.sub(r"(\\*)\$\{", lambda found: f"{found[1] * 2}\\${{", value)


def quoted(value: str | Path) -> str:
    """The text as an override's value, with any characters: Hydra reads nothing in it.

    Not even an interpolation, "${…}".
    """
    return with_quotes(escaped(str(value)))


def as_typed(key: str, value: str) -> str:
    """KEY=VALUE ready to paste into a shell, quoted as far as Hydra and the shell need it."""
    plain = f"{key}={value}"
    is_plain = "$" not in value and value == value.strip() and _is_one_value(plain)
    return shlex.quote(plain if is_plain else f"{key}={quoted(value)}")


def command(*arguments: str) -> str:
    """`python -m dermaexp` with these arguments, ready to paste into a shell."""
    return shlex.join(["python", "-m", "dermaexp", *arguments])


def _is_one_value(override: str) -> bool:
    try:
        return not parse_one(override).is_sweep_override()
    except HydraException:
        return False
