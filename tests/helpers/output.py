"""What a command wrote, read back: tables, pages, texts of figures."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

from matplotlib.figure import Figure

from dermaexp.compare import output
from dermaexp.compare.comparison import Comparison


def rows(folder: Path, name: str = "leaderboard") -> list[dict[str, str]]:
    return list(csv.DictReader((folder / f"{name}.csv").open()))


def notes(comparison: Comparison) -> list[str]:
    return [note for table in comparison.tables for note in table.notes]


def texts(figure: Figure) -> list[str]:
    """Every text of the figure, folded lines joined."""
    figure.draw_without_rendering()
    found = [text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_text"))]
    return [" ".join(text.split()) for text in found if text.strip()]


class Page(HTMLParser):
    """What a browser would make of the page: its tables' rows, addresses, texts and tags."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.addresses: dict[str, list[str]] = {"src": [], "href": []}
        self.texts: list[str] = []
        self.tags: list[str] = []
        self.in_cell = False
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attributes:
            if name in self.addresses:
                self.addresses[name].append(value or "")
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("th", "td"):
            self.in_cell = False

    def handle_data(self, text: str) -> None:
        self.texts.append(text)
        if self.in_cell:
            self.tables[-1][-1][-1] += text.strip()

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def parsed(folder: Path) -> Page:
    page = Page(folder / "comparison.html")
    page.tables = [table for table in page.tables if table]  # the page's script fills others
    return page


def comparison_page(folder: Path) -> Page:
    output.compare(folder)
    return parsed(folder)


def confusions(folder: Path) -> dict:
    text = (folder / "comparison.html").read_text()
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', text)[1])
