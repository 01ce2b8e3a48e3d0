"""Run and sweep folders: their names, which `conf/config.yaml` asks for, and who works in them."""

from __future__ import annotations

import contextlib
import glob
import itertools
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dermaexp import settings
from dermaexp.console import console
from dermaexp.data.sources import load_splits
from dermaexp.errors import UserError
from dermaexp.results import LOCK, RunDirectory, config_digest, shortened, those_there

_created: list[str] = []  # by this process
DIGEST = 8  # hexadecimal digits
UNUSED = {"multirun.yaml", LOCK}  # all that a sweep without a job leaves
SWEEP_NAMES = (  # all that a sweep writes beside its jobs' folders
    "multirun.yaml",
    "study.db",
    "best.yaml",
    "leaderboard.csv",
    "leaderboard.md",
    "runs.csv",
    "comparison.html",
    "comparison.json",
    "figures",
    LOCK,
)


def new_folder(path: str) -> str:
    """Create `path`, or `path-2`, `path-3`, … where it is taken, and return the one created.

    Creating is what makes two runs that start in the same second get a folder each.
    """
    for attempt in itertools.count(1):
        folder = Path(path if attempt == 1 else f"{path}-{attempt}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        _created.append(str(folder))
        return str(folder)
    raise AssertionError("unreachable: the count has no end")


def sweep_folder(name: str) -> str:
    """`multirun/NAME`, the same for every start, so that the same command goes on with it.

    Raises UserError for a name that would be the folder of other sweeps.
    """
    folder = portable(name).lstrip(".")
    if not folder.strip("-") or re.fullmatch(r"\d{4}-\d\d-\d\d", folder):
        raise UserError(
            f"name={name}: expected a word that can name a folder and is no date, such as lr_study"
        )
    return str(Path("multirun") / folder)


def check_sweep_folder(folder: Path) -> None:
    """Raise UserError where a sweep would write over files in `folder` that are not a sweep's."""
    found = those_there(folder, SWEEP_NAMES)
    if found and not _is_ours(folder / "multirun.yaml"):
        raise UserError(
            f"{folder} holds {', '.join(found)} but no sweep of dermaexp: nothing was written "
            "there; give another name or hydra.sweep.dir"
        )


def _is_ours(multirun: Path) -> bool:
    """Whether the file is what Hydra keeps of one of our sweeps."""
    try:
        return OmegaConf.load(multirun).hydra.callbacks.sweep._target_.startswith("dermaexp.")
    except Exception:  # not there, not YAML, or another program's
        return False


def make(folder: Path) -> None:
    """Create `folder`; one that is new goes again if nothing is run in it."""
    if not folder.exists():
        folder.mkdir(parents=True)
        _created.append(str(folder))


def job_folder(overrides: str, *, _root_: DictConfig) -> str:
    """A sweep job's folder: what it varies and a digest of all that can change its numbers.

    It loads the data, which the job needs next, for their content is part of the digest. A folder
    with the same digest is kept: the sweep may vary other keys than last time.
    """
    try:
        data = load_splits(_root_.dataset).record
    except Exception:  # reported when the job starts
        data = None
    try:
        content = settings.identity(settings.effective(_root_), data)
    except OmegaConfBaseException:  # likewise
        content = OmegaConf.to_container(_root_)
    digest = config_digest(content)
    name = portable(overrides).strip("-")
    sweep = Path(_root_.hydra.sweep.dir)
    same = [*sweep.glob(f"*-{digest[:DIGEST]}"), *_alike(sweep, name, digest)]
    return same[0].name if same else f"{name}-{digest[:DIGEST]}".lstrip("-")


def _alike(sweep: Path, name: str, digest: str) -> Iterator[Path]:
    """Folders of runs with this digest that an earlier version named by a digest of its own."""
    for folder in sweep.glob(f"{glob.escape(name)}-{'[0-9a-f]' * DIGEST}"):
        try:
            record = RunDirectory(folder).read_run()
            found = config_digest(settings.identity(record["config"], record["data"]))
        except (OSError, ValueError, LookupError, TypeError, AttributeError):  # not one, or damaged
            continue
        if found == digest:
            yield folder


@contextlib.contextmanager
def locked(folder: Path, *, wait: bool) -> Iterator[None]:
    """Hold `folder` for this process; the lock ends with the process, however that ends.

    Raises UserError where another process holds it, unless `wait` is set.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            raise UserError(
                f"another process is at work in {folder}: wait until it ends, or stop it"
            ) from None
        console.print(f"waiting for another process at work in {folder}", soft_wrap=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def is_locked(folder: Path) -> bool:
    """Whether a process of this machine holds `folder`."""
    if not (folder / LOCK).exists():
        return False
    try:
        with FileLock(folder / LOCK, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # a folder that may only be read
        return False


def portable(name: str) -> str:
    """The name, cut to what a file system takes, in characters that every one allows."""
    return shortened(re.sub(r"[^\w.,=+-]+", "-", str(name)))


def remove_unused() -> None:
    """Remove the new folders in which nothing was run, as of a sweep with a typo in it."""
    for folder in map(Path, _created):
        if folder.is_dir() and {entry.name for entry in folder.iterdir()} <= UNUSED:
            shutil.rmtree(folder)
