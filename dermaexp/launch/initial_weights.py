"""The file whose weights a run starts from: its own, or the checkpoint of another run."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from dermaexp.core.errors import UserError
from dermaexp.core.files import expanded
from dermaexp.models.files import given_file

if TYPE_CHECKING:
    from dermaexp.runs.record import InitialWeights


def initial_weights(
    config: DictConfig, before: Mapping[str, Any] | None = None
) -> InitialWeights | None:
    """Return the file that the config names and its digest, as in run.json; None if it names none.

    Raises UserError where the file or the run is missing, or the run has not finished. `before` is
    the record of an earlier attempt, whose checkpoint may have the weights of a file that is gone:
    then it is that attempt's.
    """
    try:
        file = _file(config.get("model") or {})
        return None if file is None else {"file": str(file), "sha256": _sha256(file)}
    except UserError:
        if before and "initial_weights" in before:
            return before["initial_weights"]
        raise


def initial_weights_or_none(
    config: DictConfig, before: Mapping[str, Any] | None = None
) -> InitialWeights | None:
    """Do the same, with None where that fails: a job says why."""
    try:
        return initial_weights(config, before)
    except (UserError, OSError):
        return None


def _file(model: Mapping[str, Any]) -> Path | None:
    run = model.get("init_from")
    if run is None:
        file = given_file(model)
        if file is not None and not file.is_file():
            raise UserError(
                f"model.weights={model['weights']} does not exist: expected a file in {Path.cwd()} "
                "or a whole path"
            )
        return file
    # With NumPy and pydantic, which --cfg job does not need.
    from dermaexp.runs.directory import RunDirectory
    from dermaexp.runs.finished import finished, tested_checkpoint

    directory = RunDirectory(expanded(str(run)))
    try:
        _, metrics = finished(directory)
    except UserError as error:
        raise UserError(f"model.init_from={run}: {error}") from None
    file = tested_checkpoint(directory, metrics)
    if not file.is_file():
        raise UserError(
            f"model.init_from={run}: {file} is missing, `python -m dermaexp rm` frees checkpoints; "
            "give another run, or train that one again"
        )
    return file


def _sha256(file: Path) -> str:
    state = file.stat()
    return _digest(file.absolute(), state.st_mtime_ns, state.st_size)


@functools.cache  # the jobs of a sweep share a file
def _digest(file: Path, changed: int, size: int) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
