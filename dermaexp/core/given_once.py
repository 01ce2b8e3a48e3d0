"""What a command line gives twice with two values: refused, where one would silently count."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from dermaexp.core.errors import UserError

OVERRIDE = re.compile(r"\+{0,2}([^-~+=][^=]*)=(.*)", re.DOTALL)  # but for ~KEY, which goes with KEY
BRACES = "dataset.url"  # the key whose values have braces that a shell expands
SWEEP = {"-m", "--multirun"}


def check_keys(words: Sequence[str]) -> None:
    """Raise UserError for a key with two values, of which Hydra would keep the last.

    The same value twice is harmless, and Hydra merges dicts.
    """
    first: dict[str, tuple[str, str]] = {}
    for word in words:
        if found := OVERRIDE.fullmatch(word):
            key, value = found.groups()
            before, earlier = first.setdefault(key, (word, value))
            are_dicts = value.startswith("{") and earlier.startswith("{")
            if value != earlier and not are_dicts:
                raise UserError(_refusal(key, before, word, is_sweep=bool(SWEEP & set(words))))


def _refusal(key: str, before: str, word: str, *, is_sweep: bool) -> str:
    # A URL may hold a password or a signature.
    values = "with two URLs" if "://" in before + word else f"{before} and {word}"
    hint = ", with commas between the values of a sweep" if is_sweep else ""
    if key == BRACES:
        hint = ", in quotes if the shell expanded braces"
    return f"{key} is given twice, {values}: give it once{hint}"


class Flags(Namespace):
    """Where argparse puts the values of a verb or of Hydra's flags: at first the default of each.

    Raises UserError for a flag with two values, of which argparse would keep the last.
    """

    def __init__(self) -> None:
        super().__init__()
        self.__dict__["_given"] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        if hasattr(self, name):
            before = self._given.setdefault(name, value)
            if value != before:
                flag = f"--{name.rstrip('_').replace('_', '-')}"
                raise UserError(f"{flag} is given twice, {before} and {value}: give it once")
        super().__setattr__(name, value)
