"""Hydra's private API: the only module that imports `hydra._internal`.

tests/launch/test_hydra_internals.py names what a version of Hydra lacks.
"""

from __future__ import annotations

import contextlib
import re
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra

__all__ = ["BasicLauncher", "flag_parser", "flags_of", "initialized"]


def flag_parser(error: Callable[[str], NoReturn]) -> ArgumentParser:
    """Hydra's own parser of flags, which calls `error` instead of printing its usage."""
    parser = get_args_parser()
    # Hydra creates the parser: a subclass cannot override the method.
    parser.error = error  # type: ignore[method-assign, assignment]
    return parser


def flags_of(parser: ArgumentParser) -> list[str]:
    """The long flags of `parser`, such as --multirun."""
    return sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", parser.format_usage())))


@contextlib.contextmanager
def initialized(conf: Path, config_dir: Path | None = None) -> Iterator[None]:
    """Initialise Hydra for `hydra.compose` with the options in `conf`, then in `config_dir`.

    As --config-dir does: in an override of hydra.searchpath, Hydra would read a "$" or a "'".
    """
    with initialize_config_dir(str(conf), version_base="1.3"):
        if config_dir is not None:
            path = create_config_search_path(str(conf))
            path.prepend("command-line", f"file://{config_dir}", SearchPathQuery(provider="schema"))
            GlobalHydra.instance().clear()
            Hydra.create_main_hydra2("dermaexp", path)
        yield
