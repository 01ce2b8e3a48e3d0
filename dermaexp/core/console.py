"""What the terminal shows: errors, boxes and tables."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from dermaexp.core.text import cell_text, number

LOG_WIDTH = 120  # characters, where the output is no terminal


class _Console(Console):
    """rich's console, but a run continues when nobody reads its output any more."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


console = _Console(highlight=False)
if not console.is_terminal and "COLUMNS" not in os.environ:
    console.width = LOG_WIDTH
error_console = Console(stderr=True, highlight=False)


@contextlib.contextmanager
def quiet(silent: bool) -> Iterator[None]:
    """Print errors only, if `silent`: the output of parallel jobs would be mixed."""
    before = console.quiet
    console.quiet = before or silent
    try:
        yield
    finally:
        console.quiet = before


def print_error(line: str) -> None:
    """Print one line, never folded, so that it can be searched for and copied."""
    error_console.print(f"[bold red]error:[/] {escape(line)}", soft_wrap=True)


def print_warning(line: str) -> None:
    """Print one line that a user should know, also in jobs whose other output is off."""
    error_console.print(f"[bold yellow]warning:[/] {escape(line)}", soft_wrap=True)


def print_note(text: str, title: str = "") -> None:
    """A note on the data: a line, or in a box if it has a title."""
    if title:
        print_box(title, text)
    else:
        console.print(text, soft_wrap=True, markup=False)


@functools.cache  # once in a process, not for each job of a sweep
def print_box(title: str, text: str) -> None:
    """Print a box that nobody can miss."""
    error_console.print(
        Panel(escape(text), title=f"[bold]{escape(title)}", border_style="bold red", padding=(1, 2))
    )


def print_summary(
    name: str,
    data: str,
    columns: Mapping[str, Mapping[str, Any]],
    labels: Mapping[str, str],
    note: str = "",
) -> None:
    """Print the numbers of a run: a row for each of `labels`, a column for each of `columns`.

    A number may be a pair, the ends of an interval; a column may lack some numbers.
    """
    title, caption = f"{escape(name)} on {escape(data)}", escape(note) or None
    table = Table(title=title, title_style="bold", caption=caption, caption_justify="left")
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    for key, label in labels.items():
        cells = (number(own[key]) if key in own else "" for own in columns.values())
        table.add_row(escape(label), *cells)
    console.print(table)


def print_table(
    title: str, columns: Mapping[str, str], rows: Sequence[Mapping[str, object]]
) -> None:
    """Print the `columns` (key -> heading) of `rows`, which may lack some.

    Numbers are aligned right.
    """
    table = Table(title=escape(title), title_style="bold", box=SIMPLE_HEAD, padding=(0, 1))
    for key, heading in columns.items():
        numeric = any(isinstance(row.get(key), (int, float)) for row in rows)
        table.add_column(escape(heading), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell_text(row.get(key))) for key in columns))
    console.print(table)
