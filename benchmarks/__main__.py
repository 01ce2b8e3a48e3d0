"""Run the benchmarks: python -m benchmarks [NAME …]

Without a name it runs them all, which takes an hour; --list names them. Each writes its values to
benchmarks/results/NAME.json.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from benchmarks.measure import machine, write
from dermaexp.core.console import console, print_table
from dermaexp.core.grid import Grid

NO_BENCHMARKS = {"__init__", "__main__", "measure"}
NAMES = sorted(
    file.stem for file in Path(__file__).parent.glob("*.py") if file.stem not in NO_BENCHMARKS
)


def question(name: str) -> str:
    """Return the first line of a benchmark's docstring."""
    first = (Path(__file__).parent / f"{name}.py").read_text().splitlines()[0]
    return first.strip('"').partition("python -m")[0].rstrip(" :")


def run(name: str) -> None:
    tables = importlib.import_module(f"benchmarks.{name}").measure()
    for table in tables:
        columns = list(dict.fromkeys(key for row in table.rows for key in row))
        texts = [key for key in columns if all(isinstance(row.get(key), str) for row in table.rows)]
        print_table(table.title, Grid.of(columns, table.rows, texts), note=table.note)
    console.print(f"written to {write(name, question(name), tables)}", soft_wrap=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Time dermaexp.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--list", action="store_true", help="name the benchmarks")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(NAMES)):
        parser.error(f"no benchmark is called {', '.join(unknown)}: expected {', '.join(NAMES)}")
    if arguments.list:
        for name in NAMES:
            console.print(f"{name:14} {question(name)}", markup=False)
        return
    console.print(", ".join(f"{key} {value}" for key, value in machine().items() if value))
    for name in arguments.names or NAMES:
        console.rule(question(name))
        run(name)


if __name__ == "__main__":
    main()
