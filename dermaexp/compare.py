"""Many run directories, one comparison: `python -m dermaexp.compare DIR …`, and a sweep's end."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from dermaexp import comparison_page, leaderboard, pages
from dermaexp.comparison import Comparison, comparison_of
from dermaexp.comparison_figures import NAMES as FIGURES
from dermaexp.console import console, print_error
from dermaexp.errors import UserError, explain
from dermaexp.folders import new_folder
from dermaexp.owned import Kind, write_files

NAMES = re.compile(
    rf"leaderboard\.(csv|md)|runs\.csv|comparison\.html|figures/({'|'.join(FIGURES)})(_\d+)?\.png"
)


def compare(sweep: Path) -> int:
    """Compare the runs of a sweep that ended; returns how many of them did not finish.

    Prints the tables and writes leaderboard.csv, runs.csv, leaderboard.md, comparison.html and its
    figures/ into `sweep`. Runs on other test data stand in tables of their own.
    Raises UserError where there are no runs, or a file there that dermaexp did not write.
    """
    comparison = comparison_of([sweep])
    leaderboard.show(comparison)  # first, it cannot fail
    _write(comparison, sweep)
    return sum(not run.finished for run in comparison.left_out)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m dermaexp.compare",
        description="Compare runs: means over seeds, ranks by val, differences on test with p.",
    )
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="DIR", help="runs, sweeps, or folders of them"
    )
    parser.add_argument(
        "--force", action="store_true", help="show runs on other test data in separate tables"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="for the files; else the sweep's own folder, or a new one in comparisons/",
    )
    arguments = parser.parse_args()
    try:
        comparison = comparison_of(arguments.folders)
        if not arguments.force:
            _refuse_other_data(comparison)
        output = arguments.output or _output(arguments.folders)
        _write(comparison, output)
        leaderboard.show(comparison)
    except (UserError, OSError) as error:
        print_error(explain(error))
        sys.exit(1)
    console.print(f"comparison: {output.absolute()}", soft_wrap=True, markup=False)


def _write(comparison: Comparison, folder: Path) -> None:
    files = leaderboard.files(comparison, folder)
    try:
        files |= comparison_page.files(comparison, folder)
    finally:  # the tables do not depend on a figure
        write_files(folder, KIND, files)


def _was_ours(folder: Path, name: str) -> bool:
    """Of a comparison before comparison.json, which was a sweep's or has our page."""
    path, page = folder / name, folder / comparison_page.NAME
    has_page = page.is_file() and pages.is_ours(page)
    if not NAMES.fullmatch(name) or not path.is_file():
        return False
    if path == page:
        return has_page
    begins = {"leaderboard.csv": b"rank,name,", "runs.csv": b"rank,name,"}
    begin = (begins | {"leaderboard.md": b"# Leaderboard"}).get(name, b"\x89PNG")
    is_place = has_page or (folder / "multirun.yaml").is_file()
    return is_place and path.read_bytes().startswith(begin)


KIND = Kind("comparison.json", NAMES, _was_ours)


def _refuse_other_data(comparison: Comparison) -> None:
    # Folds that are not trained yet are no reason: a sweep is compared while it runs.
    if len({table.source for table in comparison.tables}) > 1:
        tested = " | ".join(table.title.partition(" on ")[2] for table in comparison.tables)
        raise UserError(
            f"the runs were tested on different images ({tested}), which have no common order: "
            "--force shows them in separate tables"
        )


def _output(folders: Sequence[Path]) -> Path:
    """One sweep's own folder, or a new one."""
    if len(folders) == 1 and (folders[0] / "multirun.yaml").is_file():
        return folders[0]
    now = datetime.now()
    return Path(new_folder(f"comparisons/{now:%Y-%m-%d}/{now:%H-%M-%S}"))


if __name__ == "__main__":
    main()
