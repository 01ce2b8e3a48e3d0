"""A command's run or sweep in this process: from the command line's words to its folder."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.version import VersionBase
from omegaconf import OmegaConf

from dermaexp.core import allocator, lean_imports
from dermaexp.core.console import console
from dermaexp.core.overrides import command
from dermaexp.launch import flags, folders, replicas, resume, sweep, swept, tracked_sweep
from dermaexp.launch.config_folder import config_folder
from dermaexp.launch.help import help_keys
from dermaexp.launch.hydra_internals import compositions_kept
from dermaexp.launch.job import task
from dermaexp.launch.search.password import without_password
from dermaexp.runs.folders import new_folder, portable

# Threads that wait should sleep soon, not spin: two trainings at once on the same cores are
# several times faster so (benchmarks/two_at_once.py). OpenMP reads it when torch is imported.
VARIABLES = {"GOMP_SPINCOUNT": "2000"}
RESOLVERS: dict[str, Callable[..., Any]] = {
    "new_folder": new_folder,
    "portable": portable,
    "job_folder": folders.job_folder,
    "help_keys": help_keys,
}
CACHED = "new_folder"  # it creates one, and is read several times
LIGHTNING = ("pytorch_lightning", "lightning_fabric")  # loggers that a run makes quieter


def execute(arguments: Sequence[str]) -> Path | None:
    """Run Hydra over `conf/` with the arguments; return the folder of the run or sweep.

    None where nothing was run, as with --help. Raises what goes wrong, SystemExit where jobs of a
    sweep failed.
    """
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    for name, resolver in RESOLVERS.items():
        OmegaConf.register_new_resolver(name, resolver, use_cache=name == CACHED, replace=True)
    full_error = os.environ.get("HYDRA_FULL_ERROR")
    # Makes Hydra raise its errors here instead of printing them in its own way.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sweep.started.clear()
    try:
        given = flags.parsed(replicas.expanded(resume.expanded(without_password(arguments))))
        swept.left[:] = swept.deferred(given.overrides) if given.is_sweep else []
        now = [override for override in given.overrides if override not in swept.left]
        sys.argv[1:] = flags.joined(given.flags, now)
        with compositions_kept():
            hydra.main(str(config_folder()), "config", version_base="1.3")(task)()
        return sweep.started[-1] if sweep.started else None
    except KeyboardInterrupt:
        if sweep.started:
            line = command(f"resume={sweep.started[-1].absolute()}")
            console.print(f"to resume: {line}", soft_wrap=True, markup=False)
        raise
    finally:
        tracked_sweep.end("KILLED")  # where the sweep has not ended it
        sweep.until_the_end.close()
        if full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full_error


@contextlib.contextmanager
def isolated() -> Iterator[None]:
    """Put back what a command changes in this process, such as in a notebook's.

    These are the arguments, the working directory, the environment, Hydra's state and the
    resolvers, logging, warnings, handlers of signals, random numbers, and memory that was kept.
    """
    arguments, folder, environment = sys.argv, Path.cwd(), dict(os.environ)
    lean_imports.import_lightning()  # torch changes the environment, too
    from pytorch_lightning.utilities.seed import isolate_rng

    from dermaexp.data.load import forget

    running, config = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
    version_base = VersionBase.instance().getbase()
    show, raises = warnings.showwarning, logging.raiseExceptions
    in_main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    own = [name for name in RESOLVERS if not OmegaConf.has_resolver(name)]
    GlobalHydra.instance().clear()
    sys.argv = ["dermaexp"]
    try:
        with isolate_rng(), _logging_kept():
            yield
    finally:
        forget()
        allocator.hand_back()
        GlobalHydra.instance().hydra, HydraConfig.instance().cfg = running, config
        VersionBase.instance().version_base = version_base
        for name in own:
            OmegaConf.clear_resolver(name)
        sys.argv = arguments
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        logging.captureWarnings(False)
        warnings.showwarning, logging.raiseExceptions = show, raises
        for number, handler in handlers.items():
            if in_main and handler is not None and handler != signal.getsignal(number):
                signal.signal(number, handler)


@contextlib.contextmanager
def _logging_kept() -> Iterator[None]:
    root = logging.getLogger()
    handlers = list(root.handlers)
    levels = {logger: logger.level for logger in (root, *map(logging.getLogger, LIGHTNING))}
    try:
        yield
    finally:
        for handler in root.handlers:
            if handler not in handlers:
                handler.close()  # the run's log
        root.handlers[:] = handlers
        for logger, level in levels.items():
            logger.setLevel(level)
