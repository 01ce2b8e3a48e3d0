"""dermaexp.core.console: tables and bars where the output is narrow, or a notebook."""

from __future__ import annotations

import warnings

import pytest

from dermaexp.core.console import console, print_table, progress_bar
from dermaexp.core.grid import Grid

PATH = "outputs/2026-11-29/16-56-08_ctrlc"
DATA = "HAM10000_metadata, random split 0"


@pytest.mark.parametrize(("width", "is_whole"), [(120, True), (80, False)])
def test_paths_are_broken_only_where_they_need_most_of_the_width(
    width: int, is_whole: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(console, "width", width)
    print_table("", Grid(["run", "data", *"abcdef"], [(PATH, DATA, *[0.1234] * 6)]))
    lines = capsys.readouterr().out.splitlines()
    assert any(PATH in line for line in lines) == is_whole
    cells = "".join(line[: line.find("  ", 2)].strip() for line in lines[3:])
    assert PATH in cells.replace(" ", ""), "nothing is cut off"


def test_a_bar_in_a_notebook_asks_for_no_widgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "is_jupyter", True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with progress_bar() as progress:
            assert list(progress.track([1, 2])) == [1, 2]
