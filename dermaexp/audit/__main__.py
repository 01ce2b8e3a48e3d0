"""The command `python -m dermaexp.audit dataset=…`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from dermaexp.audit.findings import audit
from dermaexp.core.console import console, print_error, print_note
from dermaexp.core.errors import INTERRUPTED, UserError
from dermaexp.core.given_once import Flags
from dermaexp.data.load import load_splits
from dermaexp.launch import validate
from dermaexp.launch.dataset import composed
from dermaexp.launch.explain import explain
from dermaexp.runs.folders import dated_folder


def main() -> None:
    """Audits the dataset that the arguments configure; an error ends as one line."""
    parser = _parser()
    try:
        arguments = parser.parse_intermixed_args(namespace=Flags())
        config = composed(arguments.overrides, arguments.config_dir)
        validate.check_dataset(config)
        splits = load_splits(config.dataset)
        for note in splits.notes:
            print_note(*note)
        result = audit(splits)
        folder = arguments.output or dated_folder("audits")
        # Matplotlib is not loaded for a mistyped key.
        from dermaexp.audit.page import show, write

        write(result, folder)
        show(result)
        console.print(f"audit: {folder.absolute()}", soft_wrap=True, markup=False)
    except KeyboardInterrupt:
        print_error("interrupted")
        sys.exit(INTERRUPTED)
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print_error(explain(error))
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dermaexp.audit",
        description="Looks for duplicates and leaks between train, val and test.",
        epilog="Overrides are those of python -m dermaexp, such as dataset=npz dataset.path=FILE "
        "dataset.groups=FILE.csv; python -m dermaexp --help lists them all.",
    )
    parser.add_argument("overrides", nargs="*", metavar="dataset…=VALUE")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="for the files; default: a new one in audits/"
    )
    parser.add_argument("--config-dir", type=Path, metavar="DIR", help="with datasets of your own")
    parser.error = _raise_user_error  # type: ignore[method-assign]
    return parser


def _raise_user_error(message: str) -> NoReturn:
    raise UserError(f"{message}: see python -m dermaexp.audit --help")


if __name__ == "__main__":
    main()
