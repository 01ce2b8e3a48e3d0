"""Rows of values under headings: the one form of tables, in the terminal, files and pages."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dermaexp.core.text import cell_text, markdown_text

FORMULA = ("=", "+", "-", "@", "\t", "\n", "\N{FULLWIDTH EQUALS SIGN}")  # begin one in a cell
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Cell:
    """A value of which a page shows more than the text."""

    value: Any
    below: Any = None  # in small type, such as its interval
    address: str = ""  # what it links to
    strong: bool = False


@dataclass(frozen=True)
class Grid:
    """Rows of values, which `cell_text` turns into text, under `headings`.

    The columns at the places `texts` hold text; the others are aligned right, as numbers are.
    `foot` is a last row that sums up the others.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[Any]]
    foot: Sequence[Any] = ()
    texts: Collection[int] = (0,)

    @classmethod
    def of(
        cls,
        columns: Mapping[str, str] | Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        texts: Collection[str] | None = None,
    ) -> Grid:
        """The `columns` (key -> heading) of `rows`, which may lack some.

        `texts` are the keys of columns of text; None are those without a number in any row.
        """
        if texts is None:
            numeric = (int, float)
            texts = [
                key for key in columns if not any(isinstance(row.get(key), numeric) for row in rows)
            ]
        return cls(
            list(columns.values() if isinstance(columns, Mapping) else columns),
            [[row.get(key) for key in columns] for row in rows],
            texts=[place for place, key in enumerate(columns) if key in texts],
        )

    @classmethod
    def of_scores(
        cls,
        heading: str,
        labels: Mapping[str, str],
        columns: Iterable[tuple[str, Mapping[str, Any]]],
    ) -> Grid:
        """A row for each of `labels`, a column for each heading and its scores; some may lack."""
        columns = list(columns)
        rows = [[label, *(own.get(key, "") for _, own in columns)] for key, label in labels.items()]
        return cls([heading, *(name for name, _ in columns)], rows)

    def csv(self) -> bytes:
        """A CSV file in which a text that is no number is no formula either."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([_no_formula(cell) for cell in row] for row in (self.headings, *self.rows))
        return text.getvalue().encode(errors="replace")  # of names of folders that are no Unicode

    def markdown(self) -> str:
        """A table in Markdown; nothing in a cell is markup."""
        rows = [self.headings, ["---"] * len(self.headings), *self.rows]
        lines = (" | ".join(map(_markdown_cell, row)) for row in rows)
        return "\n".join(f"| {line} |" for line in lines)


def _no_formula(cell: Any) -> Any:
    """With the quote before it that spreadsheets take for text, as OWASP advises."""
    if not isinstance(cell, str):
        return cell
    cell = "\n".join(cell.split("\r"))  # which would end the row, for csv does not quote it
    return f"'{cell}" if cell.startswith(FORMULA) and not NUMBER.fullmatch(cell) else cell


def _markdown_cell(value: Any) -> str:
    return markdown_text(cell_text(value)).replace("|", "\\|")
