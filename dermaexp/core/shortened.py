"""Paths on pages for others: relative to the page's folder, or with ~ for the home folder."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dermaexp.core.grid import Cell, Grid


def shortened(value: Any, folder: Path) -> Any:
    """Shorten the paths in a text, or in texts in lists, mappings and grids, for `folder`."""
    return _shortened(value, list(_prefixes(folder)))


def short_command(command: str, folder: Path) -> str:
    """Shorten the paths in a shell command, quoting it again if a word has changed."""
    try:
        words = shlex.split(command)
    except ValueError:  # a quotation is not closed
        return shortened(command, folder)
    short = shortened(words, folder)
    return command if short == words else shlex.join(short)


def short_path(path: Path, folder: Path) -> str:
    """The path relative to `folder`; with ~ where that would name the home folder."""
    home, path, folder = _home(), path.absolute(), folder.absolute()
    if home and path.is_relative_to(home) and not folder.is_relative_to(home):
        return shortened(str(path), folder)
    return Path(os.path.relpath(path, folder)).as_posix()


def _shortened(value: Any, prefixes: list[tuple[re.Pattern[str], str]]) -> Any:
    if isinstance(value, str):
        for pattern, short in prefixes:
            value = pattern.sub(short, value)
        return value
    if isinstance(value, Mapping):
        return {
            _shortened(key, prefixes): _shortened(item, prefixes) for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_shortened(item, prefixes) for item in value]
    if isinstance(value, (Grid, Cell)):
        return replace(value, **_shortened(vars(value), prefixes))
    return value


def _prefixes(folder: Path) -> Iterator[tuple[re.Pattern[str], str]]:
    """Patterns and their replacements: the folder first, as it may be in the home folder."""
    home = _home()
    for place, short in ((folder, "."), (home, "~")):
        if place is None:
            continue
        for path in dict.fromkeys(map(str, (place.absolute(), place.resolve()))):
            # Also escaped, inside Hydra's quotes. Whole names only: not a part of /home/annabel.
            either = "|".join(re.escape(path.replace(sign, f"\\{sign}")) for sign in "'\"")
            before, after = r"(?<![\w.~+@%-])", r"(?![\w.~+@%-])"
            if short == ".":
                yield re.compile(f"{before}(?:{either})/+(?=[^\\s/'\"])"), ""
            yield re.compile(f"{before}(?:{either})(?:(?=/)|{after})"), short


def _home() -> Path | None:
    """The home folder; None if there is none or it is the root."""
    try:
        home = Path.home().absolute()
    except RuntimeError:  # a user without an entry in passwd
        return None
    return home if home != Path(home.anchor) else None
