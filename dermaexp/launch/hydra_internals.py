"""Hydra's private API: the only module that imports `hydra._internal`.

tests/launch/test_hydra_internals.py names what a version of Hydra lacks.
"""

from __future__ import annotations

import contextlib
import copy
import pickle
import re
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

DEEPCOPY = "__deepcopy__"  # a method that ConfigRepository does not have

__all__ = ["compositions_kept", "flag_parser", "flags_of", "initialized"]


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


@contextlib.contextmanager
def compositions_kept() -> Iterator[None]:
    """Let Hydra read a file of the config once in this block, and compose each job of a sweep once.

    It reads every file for every job, and composes all jobs twice, first to find mistakes. What it
    gets it changes: so it is kept in pickles, which are small.
    """
    read: Callable[..., Any] = ConfigRepository.load_config
    compose: Callable[..., Any] = ConfigLoaderImpl.load_sweep_config
    files: dict[Any, bytes] = {}
    jobs: dict[Any, bytes] = {}

    def load_config(repository: ConfigRepository, config_path: str) -> Any:
        sources = ((source.provider, source.path) for source in repository.get_sources())
        key = (config_path, *sources)
        if key not in files:
            files[key] = pickle.dumps(read(repository, config_path))
        return pickle.loads(files[key])

    def load_sweep_config(
        loader: ConfigLoaderImpl, master_config: DictConfig, sweep_overrides: list[str]
    ) -> DictConfig:
        key = (*master_config.hydra.overrides.hydra, None, *sweep_overrides)
        if key in jobs:
            return pickle.loads(jobs.pop(key))
        config = compose(loader, master_config, sweep_overrides)
        jobs[key] = pickle.dumps(config)
        return config

    def install(*methods: Callable[..., Any]) -> None:
        for owner, method in zip((ConfigRepository, ConfigLoaderImpl), methods, strict=True):
            setattr(owner, method.__name__, method)

    install(load_config, load_sweep_config)
    # --help copies the whole repository, with the schemas of all plugins, for each config group.
    setattr(ConfigRepository, DEEPCOPY, lambda repository, _: copy.copy(repository))
    try:
        yield
    finally:
        install(read, compose)
        delattr(ConfigRepository, DEEPCOPY)
