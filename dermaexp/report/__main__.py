"""The command `python -m dermaexp.report RUN_DIR …`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dermaexp.core.console import console, print_error
from dermaexp.core.errors import UserError, line_of
from dermaexp.report.page import write_report
from dermaexp.runs.directory import RunDirectory


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m dermaexp.report",
        description="Write report.html, all of a run on one page, into each run directory.",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR")
    failed = False
    for run in parser.parse_args().runs:
        try:
            page = write_report(RunDirectory(run))
        except (UserError, OSError) as error:
            print_error(line_of(error))
            failed = True
        else:
            console.print(str(page), soft_wrap=True, markup=False)
    sys.exit(failed)


if __name__ == "__main__":
    main()
