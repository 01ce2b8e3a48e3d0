"""Folders of sweeps and jobs: how they are named, and whether their files are dermaexp's."""

from __future__ import annotations

import glob
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dermaexp.core.containers import to_dict
from dermaexp.core.errors import UserError
from dermaexp.launch.identity import data_record, effective, identity
from dermaexp.launch.initial_weights import initial_weights_or_none
from dermaexp.runs.directory import NAMES, NAMES_OF_HYDRA, RunDirectory, those_there
from dermaexp.runs.folders import portable
from dermaexp.runs.identity import config_digest
from dermaexp.runs.locks import LOCK

if TYPE_CHECKING:
    from dermaexp.runs.record import InitialWeights

DIGEST = 8  # hexadecimal digits
SWEEP_NAMES = (  # all that a sweep writes beside its jobs' folders
    "multirun.yaml",
    "study.db",
    "search.json",
    "best.yaml",
    "leaderboard.csv",
    "leaderboard.md",
    "runs.csv",
    "comparison.html",
    "comparison.json",
    "figures",
    LOCK,
)


def sweep_folder(name: str) -> str:
    """`multirun/NAME`, the same for every start, so that the same command resumes the sweep.

    Raises UserError for a name that would be the folder of other sweeps.
    """
    folder = portable(name).lstrip(".")
    if not folder.strip("-") or re.fullmatch(r"\d{4}-\d\d-\d\d", folder):
        raise UserError(
            f"name={name}: expected a word that can name a folder and is no date, such as lr_study"
        )
    return str(Path("multirun") / folder)


def check_sweep_folder(folder: Path) -> None:
    """Raise UserError if a sweep would overwrite files in `folder` that are not a sweep's."""
    found = those_there(folder, SWEEP_NAMES)
    if found and not _is_ours(folder / "multirun.yaml"):
        raise UserError(
            f"{folder} holds {', '.join(found)} but no sweep of dermaexp: nothing was written "
            "there; give another name or hydra.sweep.dir"
        )


def check_job_folders(sweep: Path) -> None:
    """Raise UserError if a folder in `sweep` holds files with the names of a run's, but no run.

    For jobs whose folders the user names: Hydra writes there before a job can check.
    """
    for folder in sorted(path for path in sweep.glob("*/") if path.is_dir()):
        directory = RunDirectory(folder)
        if not directory.has_run() and not _is_ours(folder / ".hydra" / "hydra.yaml"):
            directory.check_unused((*NAMES, *NAMES_OF_HYDRA))


def _is_ours(file: Path) -> bool:
    """Whether the file is Hydra's record of one of our sweeps or runs."""
    try:
        return OmegaConf.load(file).hydra.callbacks.sweep._target_.startswith("dermaexp.")
    except Exception:  # not there, not YAML, or another program's
        return False


def job_folder(overrides: str, *, _root_: DictConfig) -> str:
    """A sweep job's folder: what it varies and a digest of all that can change its numbers.

    Loads the data, which the job needs next, as their content is part of the digest. Returns an
    existing folder with the same digest: the sweep may vary other keys than last time.
    """
    try:
        weights = initial_weights_or_none(_root_)
        content = identity(effective(_root_), data_record(_root_), weights)
    except OmegaConfBaseException:  # reported when the job starts
        content = to_dict(_root_)
    digest = config_digest(content)
    # Only the last name of a path: folders are named on pages that people send to each other.
    name = portable(re.sub(r"(?<==)[^,=]*/", "", overrides)).strip("-")
    sweep = Path(_root_.hydra.sweep.dir)
    # The second reads files of many runs where long names were cut to the same beginning.
    same = itertools.chain(sweep.glob(f"*-{digest[:DIGEST]}"), _alike(sweep, name, digest, weights))
    for folder in same:
        return folder.name
    return f"{name}-{digest[:DIGEST]}".lstrip("-")


def _alike(sweep: Path, name: str, digest: str, weights: InitialWeights | None) -> Iterator[Path]:
    """Folders of runs with this digest that have another one in their name.

    An earlier version named them, or the file of their initial weights is gone, without which
    `weights` is None.
    """
    pattern = f"{glob.escape(name)}-{'[0-9a-f]' * DIGEST}"
    for folder in sweep.glob(pattern.lstrip("-")):
        try:
            record = RunDirectory(folder).read_run()
            own = record.get("initial_weights") if weights else None
            found = config_digest(identity(record["config"], record["data"], own))
        except (OSError, ValueError, LookupError, TypeError, AttributeError):  # not one, or damaged
            continue
        if found == digest:
            yield folder
