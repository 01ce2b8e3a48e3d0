"""The command `python -m dermaexp.report RUN_DIR …`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dermaexp.core.console import console, print_error, print_warning
from dermaexp.core.errors import UserError, line_of


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m dermaexp.report",
        description="Regenerate each run's figures, and report.html, all of the run on one page.",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR")
    arguments = parser.parse_args()
    from dermaexp.report.page import write_report  # with SciPy and Matplotlib
    from dermaexp.report.regenerate import regenerate
    from dermaexp.runs.directory import RunDirectory

    failed = False
    for run in arguments.runs:
        directory = RunDirectory(run)
        try:
            for line in regenerate(directory):
                print_warning(f"{run}: {line}")
            page = write_report(directory)
        except (UserError, OSError) as error:
            print_error(line_of(error))
            failed = True
        else:
            console.print(str(page), soft_wrap=True, markup=False)
    sys.exit(failed)


if __name__ == "__main__":
    main()
