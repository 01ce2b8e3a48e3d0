"""What the terminal shows: errors, boxes and tables."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD, Box
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from dermaexp.core.grid import Grid
from dermaexp.core.text import cell_text

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

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


def print_table(
    title: str, grid: Grid, *, box: Box = SIMPLE_HEAD, note: str = "", undefined: str = ""
) -> None:
    """Print the `grid` with a `note` below; `undefined` stands for None."""
    table = Table(title=escape(title), title_style="bold", box=box, padding=(0, 1))
    table.caption, table.caption_justify = escape(note) or None, "left"
    rows = [
        [cell_text(cell, undefined) for cell in row]
        for row in (*grid.rows, *([grid.foot] if grid.foot else ()))
    ]
    widest = max((cell_len(line) for row in rows for line in row[0].splitlines()), default=0)
    for place, heading in enumerate(grid.headings):
        justify: JustifyMethod = "left" if place in grid.texts else "right"
        is_name = place == 0 and widest <= console.width // 3  # it stays whole, to be copied
        table.add_column(escape(heading), justify=justify, overflow="fold", no_wrap=is_name)
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)


def progress_bar(*columns: ProgressColumn) -> Progress:
    """A bar in a terminal, gone at its end; nothing elsewhere, such as in a notebook or log."""
    from rich.progress import Progress

    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
