"""Before and after the jobs of a sweep: their folders, their comparison, the exit code."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from dermaexp.core.console import console, print_error
from dermaexp.core.containers import to_dict
from dermaexp.core.errors import UserError
from dermaexp.core.override_grammar import parse
from dermaexp.core.overrides import command, quoted
from dermaexp.launch import beside, longer, replicas, swept, tracked_sweep
from dermaexp.launch.earlier import already_there
from dermaexp.launch.explain import RunError, explain
from dermaexp.launch.folders import check_job_folders, check_sweep_folder, sweep_folder
from dermaexp.launch.follow import ends_reported
from dermaexp.launch.lost_jobs import losses_reported, lost
from dermaexp.runs.directory import NAMES, NAMES_OF_HYDRA, RunDirectory
from dermaexp.runs.folders import make
from dermaexp.runs.locks import locked
from dermaexp.runs.provenance import COMMAND

OUR_FOLDER = "${job_folder:"  # begins a job's folder that has a digest in its name
NEW_FOLDER = "${new_folder:"  # begins a folder that holds nothing yet
# Holds the lock of the sweep's folder; not the callback, which launchers send to other processes.
until_the_end = contextlib.ExitStack()
# The folders of the run or the sweep that this process has started last.
started: list[Path] = []


class Sweep(Callback):
    """Hydra's callback of every sweep; a failed job makes the exit code 1."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Refuse files that are not ours and epochs that cannot be, before Hydra writes there."""
        template = to_dict(config.hydra.run)["dir"]
        if template.startswith(NEW_FOLDER):
            return
        with _errors_end_all():
            HydraConfig.instance().set_config(config)  # the folder's name may read it
            directory = RunDirectory(Path(config.hydra.run.dir).absolute())
            if config.resume:
                before = directory.read_earlier()
                if before and longer.is_asked(config, config.hydra.overrides.task, before):
                    own = [str(key) for key in config if key != "hydra"]
                    longer.check(OmegaConf.masked_copy(config, own), directory, before)
                return
            directory.check_unused((*NAMES, *NAMES_OF_HYDRA))
            if directory.has_run():
                raise already_there(directory)

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        if HydraConfig.get().mode == RunMode.RUN:
            started.append(Path(config.hydra.runtime.output_dir))

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Settle the sweep's folder, which the jobs' own configs must not compute again."""
        with _errors_end_all():
            _check_launcher(config.hydra)
            line = command(*sys.argv[1:], *swept.left)
            config.hydra.overrides.task += swept.left
            overrides = parse(config.hydra.overrides.task)
            keys = {o.key_or_group: o.is_sweep_override() for o in overrides}
            if keys.get("name"):
                raise UserError(
                    "name takes several values: expected one, for it names the whole sweep"
                )
            swept.check(config, overrides)
            replicas.use(config)
            if "name" in keys and not _is_given("hydra.sweep.dir", config):
                config.hydra.sweep.dir = sweep_folder(config.name)
            folder = Path(config.hydra.sweep.dir).absolute()
            check_sweep_folder(folder)
            subdir = to_dict(config.hydra.sweep)["subdir"]
            if not subdir.startswith(OUR_FOLDER):
                check_job_folders(folder)
            make(folder)
            started.append(folder)
            if config.hydra.sweeper.get("storage") is None:  # else searches may share the folder
                until_the_end.enter_context(locked(folder, wait=False))
            if "submitit" in config.hydra.launcher._target_:  # its jobs write to files
                output = Path(config.hydra.launcher.submitit_folder.partition("%")[0]).absolute()
                console.print(f"output of the jobs: {output}", soft_wrap=True, markup=False)
                until_the_end.enter_context(losses_reported(stop=config.sweep.stop_on_failure))
                until_the_end.enter_context(ends_reported(folder))
            loggers = to_dict(config.logger, resolve=True) if config.get("logger") else {}
            until_the_end.enter_context(beside.pages_made_beside(config))
            variables = {COMMAND: line, **tracked_sweep.begin(loggers, folder)}
        shared = sorted(key for key, is_swept in keys.items() if not is_swept)
        # Hydra composes every job's config anew, from these overrides.
        config.hydra.sweep.dir = str(folder)
        config.hydra.overrides.hydra += [
            f"hydra.sweep.dir={quoted(folder)}",
            f"hydra.job.config.override_dirname.exclude_keys=[{','.join(map(quoted, shared))}]",
            *(f"++hydra.job.env_set.{name}={quoted(value)}" for name, value in variables.items()),
        ]

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        until_the_end.close()
        try:
            from dermaexp.compare.output import compare

            with locked(folder, wait=True):
                failed = compare(folder)
        except Exception as error:  # Hydra would only warn
            tracked_sweep.end("failed")
            print_error(f"the comparison of {folder} failed: {explain(error)}")
            sys.exit(1)
        files = [folder / name for name in ("comparison.html", "leaderboard.csv", "runs.csv")]
        files += sorted((folder / "figures").glob("*.png"))
        tracked_sweep.end("failed" if failed or lost else "success", files)
        console.print(f"sweep directory: {folder.absolute()}", soft_wrap=True, markup=False)
        if failed:
            print_error(f"{failed} of the sweep's jobs did not finish: see the table above")
        if failed or lost:
            sys.exit(1)


@contextlib.contextmanager
def _errors_end_all() -> Iterator[None]:
    """Make exceptions of a callback end the program: Hydra would turn them into warnings."""
    try:
        yield
    except Exception as error:
        raise RunError(explain(error)) from error


def _is_given(key: str, config: DictConfig) -> bool:
    return any(override.startswith(f"{key}=") for override in config.hydra.overrides.hydra)


def _check_launcher(hydra: DictConfig) -> None:
    """Raise UserError if the plugin of the launcher is not installed."""
    package = ".".join(hydra.launcher._target_.split(".")[:2])
    if package.startswith("hydra_plugins.dermaexp_"):  # a part of it
        package = f"hydra_plugins.hydra_{package.rpartition('_')[2]}_launcher"
    try:
        missing = find_spec(package) is None
    except ModuleNotFoundError:  # no plugin is installed at all
        missing = True
    if missing:
        choice = hydra.runtime.choices["hydra/launcher"]
        extra = "ray" if choice == "ray" else "launchers"
        raise UserError(
            f"hydra/launcher={choice} needs a plugin that is not installed: pip install "
            f"'dermaexp[{extra}]'"
        )
