"""`resume=DIR`: the command that was given for a run directory or a sweep, given again."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from dermaexp.core.console import console
from dermaexp.core.errors import UserError
from dermaexp.core.files import expanded as expanded_path
from dermaexp.core.overrides import command, quoted
from dermaexp.launch import tracked_sweep
from dermaexp.launch.folders import check_sweep_folder
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.provenance import COMMAND

if TYPE_CHECKING:
    from dermaexp.runs.record import Start

KEY = "resume="
EPOCHS = "epochs="
OTHERS = (EPOCHS, "trainer.devices=", "trainer.num_nodes=")  # than at the first start, for a run
NOT_AGAIN = (  # overrides that the first start gave to Hydra, and this one gives anew
    "hydra.mode=",
    "hydra.run.dir=",
    "hydra.sweep.dir=",
    "hydra.job.config.override_dirname.exclude_keys=",
    "++hydra.sweeper.trial=",  # resumed alone, a run is no trial that could be pruned
    *(f"++hydra.job.env_set.{variable}=" for variable in (COMMAND, *tracked_sweep.VARIABLES)),
)


def expanded(arguments: Sequence[str]) -> list[str]:
    """Replace `resume=DIR` by the arguments that were given for that directory.

    Prints the command, and changes to the folder in which it was given, for relative paths.
    """
    given = [argument for argument in arguments if argument.startswith(KEY)]
    if not given or given[0] == f"{KEY}null":
        return list(arguments)
    changed = [argument for argument in arguments if argument.startswith(OTHERS)]
    refused = [argument for argument in arguments if argument not in (*given, *changed)]
    if len(given) > 1 or refused:
        extra = " ".join(refused) or given[1]
        raise UserError(
            f"{given[0]} resumes a run with its own config: expected no {extra}, only other "
            "epochs, trainer.devices or trainer.num_nodes"
        )
    value = given[0].removeprefix(KEY)
    if value[:1] in ("'", '"') and value[-1:] == value[:1]:  # as Hydra wants other values
        value = value[1:-1]
    if not value:
        raise UserError("resume= names no folder: expected a run directory or a sweep's")
    folder = expanded_path(value).absolute()
    start = _start(folder)
    is_sweep = start["arguments"][:1] == ["-m"]
    if is_sweep and changed:
        raise UserError(
            f"{given[0]} resumes a sweep with its own config: expected no {changed[0]}; start a "
            "new sweep with it"
        )
    old = tuple(key for key in OTHERS if any(argument.startswith(key) for argument in changed))
    kept = [argument for argument in start["arguments"] if not argument.startswith(old)]
    start = {**start, "arguments": [*kept, *changed]}
    _print_start(folder, start)
    if Path(start["folder"]).is_dir():
        os.chdir(start["folder"])
    if is_sweep:
        return [*start["arguments"], f"hydra.sweep.dir={quoted(folder)}"]
    return [*start["arguments"], f"hydra.run.dir={quoted(folder)}", f"{KEY}{quoted(folder)}"]


def start_of(hydra: Any) -> Start:
    """The "folder" in which a command was given and its "arguments"; in a sweep, the job's.

    `hydra` is that node of the config; run.json keeps what this returns as "start".
    """
    flags = [
        flag
        for source in hydra.runtime.config_sources
        if source.provider == "command-line"
        for flag in ("--config-dir", source.path)
    ]
    overrides = [*hydra.overrides.hydra, *hydra.overrides.task]
    return {
        "folder": hydra.runtime.cwd,
        "arguments": flags + [o for o in overrides if not o.startswith((KEY, *NOT_AGAIN))],
    }


def _start(folder: Path) -> Start:
    """How the run or sweep in `folder` was started; a sweep's arguments begin with -m."""
    if (folder / "multirun.yaml").is_file():
        start = _read(folder / "multirun.yaml")
        check_sweep_folder(folder)
        return {**start, "arguments": ["-m", *start["arguments"]]}
    record = RunDirectory(folder).read_earlier()
    if record and "start" in record:
        return record["start"]
    if not (folder / ".hydra" / "hydra.yaml").is_file():
        raise UserError(
            f"{folder} cannot be resumed: expected a run directory or a sweep's, which hold "
            "run.json or multirun.yaml"
        )
    RunDirectory(folder).check_unused()
    return _read(folder / ".hydra" / "hydra.yaml")


def _read(file: Path) -> Start:
    try:
        return start_of(OmegaConf.load(file).hydra)
    except Exception as error:  # PyYAML's and OmegaConf's have nothing in common
        raise UserError(f"{file} is damaged: give the first command again instead") from error


def _print_start(folder: Path, start: Start) -> None:
    """Print the command before anything runs: a folder from somebody else may call any code."""
    where = shlex.join(["cd", start["folder"]])
    line = f"resume={folder} runs again: {where} && {command(*start['arguments'])}"
    if not Path(start["folder"]).is_dir():
        line += f" (there is no {start['folder']} here: relative paths start in {Path.cwd()})"
    console.print(line, soft_wrap=True, markup=False)
