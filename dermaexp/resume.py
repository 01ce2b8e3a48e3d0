"""Going on with what was left: `resume=DIR`, and what a run directory allows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from dermaexp.errors import UserError
from dermaexp.results import RunDirectory

KEY = "resume="
NOT_AGAIN = (  # Hydra's own overrides of the first start that this one gives itself
    "hydra.mode=",
    "hydra.run.dir=",
    "hydra.sweep.dir=",
    "hydra.job.config.override_dirname.exclude_keys=",
)
RESUMPTION = ("started", "command", "git_commit", "code_digest")
FROM_START = (*RESUMPTION, "versions", "platform")


def expanded(arguments: Sequence[str]) -> list[str]:
    """The arguments, `resume=DIR` replaced by the command that was given for that directory.

    Also changes to the folder in which that command was given, for paths relative to it.
    """
    given = [argument for argument in arguments if argument.startswith(KEY)]
    if not given or given[0] == f"{KEY}null":
        return list(arguments)
    others = [argument for argument in arguments if argument not in given]
    if len(given) > 1 or others:
        extra = " ".join(others) or given[1]
        raise UserError(f"{given[0]} goes on with a run's own settings: expected no {extra}")
    value = given[0].removeprefix(KEY)
    if value[:1] in ("'", '"') and value[-1:] == value[:1]:  # as Hydra wants other values
        value = value[1:-1]
    if not value:
        raise UserError("resume= names no folder: expected a run directory or a sweep's")
    folder = Path(value).expanduser().absolute()
    if (folder / "multirun.yaml").is_file():
        hydra = _read(folder / "multirun.yaml")
        return ["-m", *_again(hydra), f"hydra.sweep.dir={quoted(folder)}"]
    if not (folder / ".hydra" / "hydra.yaml").is_file():
        raise UserError(
            f"{folder} cannot be gone on with: expected a run directory or a sweep's, which hold "
            ".hydra/hydra.yaml or multirun.yaml"
        )
    hydra = _read(folder / ".hydra" / "hydra.yaml")
    directory = quoted(folder)
    return [*_again(hydra), f"hydra.run.dir={directory}", f"{KEY}{directory}"]


def _read(file: Path) -> Any:
    try:
        return OmegaConf.load(file).hydra
    except Exception as error:  # PyYAML's and OmegaConf's have nothing in common
        raise UserError(f"{file} is damaged: give the first command again instead") from error


def _again(hydra: Any) -> list[str]:
    """Flags and overrides that were given; of a sweep's job, those of the job."""
    if Path(hydra.runtime.cwd).is_dir():
        os.chdir(hydra.runtime.cwd)
    flags = [
        flag
        for source in hydra.runtime.config_sources
        if source.provider == "command-line"
        for flag in ("--config-dir", source.path)
    ]
    overrides = [*hydra.overrides.hydra, *hydra.overrides.task]
    return flags + [o for o in overrides if not o.startswith((KEY, *NOT_AGAIN))]


def quoted(path: Path) -> str:
    """The path as the value of an override, whatever characters it has."""
    escaped = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def can_go_on(directory: RunDirectory, earlier: dict[str, Any], record: dict[str, Any]) -> bool:
    """Whether last.ckpt of the `earlier` attempt is a beginning of the run of `record`.

    One that failed starts anew once the code has changed, which may be what mends it.
    """
    return (
        directory.last_checkpoint.exists()
        and earlier.get("data", {}).get("fingerprint") == record["data"]["fingerprint"]
        and (earlier["status"] != "failed" or earlier.get("code_digest") == record["code_digest"])
    )


def go_on(record: dict[str, Any], earlier: dict[str, Any]) -> None:
    """Make of `record` the `earlier` one's continuation: its start, and one more resumption."""
    resumption = {key: record[key] for key in RESUMPTION}
    record |= {key: earlier.get(key) for key in FROM_START}  # an older version wrote less
    record["resumed"] = [*earlier.get("resumed", []), resumption]
