"""The command `python -m dermaexp.compare DIR …`."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dermaexp.core import lean_imports
from dermaexp.core.console import console, print_error
from dermaexp.core.errors import UserError, line_of
from dermaexp.core.given_once import Flags

if TYPE_CHECKING:
    from dermaexp.compare.comparison import Comparison


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m dermaexp.compare",
        description="Compare runs: means over seeds, ranks by val, differences on test with p.",
    )
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="DIR", help="runs, sweeps, or folders of them"
    )
    parser.add_argument(
        "--force", action="store_true", help="show runs on different test data in separate tables"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="for the files; default: the sweep's own folder, or a new one in comparisons/",
    )
    try:
        arguments = parser.parse_args(namespace=Flags())
        from dermaexp.compare import tables  # with NumPy and pydantic
        from dermaexp.compare.comparison import comparison_of
        from dermaexp.compare.output import write

        with lean_imports.without_collections():
            comparison = comparison_of(arguments.folders)
        gc.freeze()  # else the imports and figures of the page look for garbage among all runs
        if not arguments.force:
            _refuse_other_data(comparison)
        output = arguments.output or _output(arguments.folders)
        write(comparison, output)
        tables.show(comparison)
    except (UserError, OSError) as error:
        print_error(line_of(error))
        sys.exit(1)
    console.print(f"comparison: {output.absolute()}", soft_wrap=True, markup=False)


def _refuse_other_data(comparison: Comparison) -> None:
    # Missing folds are no reason to refuse: a sweep can be compared while it runs.
    if len({table.source for table in comparison.tables}) > 1:
        tested = " | ".join(table.title.partition(" on ")[2] for table in comparison.tables)
        raise UserError(
            f"the runs were tested on different images ({tested}), and cannot be ranked together: "
            "--force shows them in separate tables"
        )


def _output(folders: Sequence[Path]) -> Path:
    """The sweep's own folder, or a new one."""
    if len(folders) == 1 and (folders[0] / "multirun.yaml").is_file():
        return folders[0]
    from dermaexp.runs.folders import dated_folder

    return dated_folder("comparisons")


if __name__ == "__main__":
    main()
