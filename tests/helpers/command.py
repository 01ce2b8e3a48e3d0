"""The command lines, run in this process, and options that make runs short."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import pytest

from dermaexp.compare.__main__ import main as compare_main
from dermaexp.runs.directory import FIGURES

# Figures take most of a small run's time: tests that do not look at them leave them out.
NO_FIGURES = [*(f"callbacks.{name}=null" for name in FIGURES), "report=false"]


def overridden(options: Sequence[str], *words: str) -> list[str]:
    """Return the options and the words, which take the place of options with the same keys."""
    keys = {word.partition("=")[0].lstrip("+") for word in words}
    return [*(one for one in options if one.partition("=")[0].lstrip("+") not in keys), *words]


def exit_code(monkeypatch: pytest.MonkeyPatch, main: Callable[[], None], *arguments: object) -> int:
    """Of the command whose `main` it is, run in this process."""
    monkeypatch.setattr(sys, "argv", ["dermaexp", *map(str, arguments)])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def compare_command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    return exit_code(monkeypatch, compare_main, *arguments)
