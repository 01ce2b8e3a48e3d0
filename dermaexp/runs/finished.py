"""What a finished run's directory says of it. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from dermaexp.core.errors import UserError, one_line
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.metrics_file import Metrics
from dermaexp.runs.record import RunRecord

Shape = tuple[int, int, int]  # channels, height, width


def finished(directory: RunDirectory) -> tuple[RunRecord, Metrics]:
    """Return run.json and metrics.json of a finished run; UserError for any other folder."""
    record = directory.read_earlier() if directory.path.is_dir() else None
    if record is None:
        if several := sorted(file.parent for file in directory.path.glob("*/run.json")):
            raise UserError(
                f"{directory.path} holds several runs: expected one of them, such as {several[0]}"
            )
        raise UserError(f"{directory.path} is no run directory: expected one with run.json in it")
    if record["status"] != "finished":
        raise UserError(
            f"{directory.path} is {record['status']}: expected a finished run; resume it by "
            f"python -m dermaexp resume={directory.path}"
        )
    try:
        return record, directory.read_metrics()
    except (OSError, ValueError) as error:
        raise UserError(f"{directory.path}: {one_line(error)}") from error


def shape_of(metrics: Metrics) -> Shape:
    """Return (C, H, W) of the images that the model takes."""
    size = metrics["data"]["size"]
    height, width = (size, size) if isinstance(size, int) else size
    return metrics["data"]["channels"], height, width


def tested_checkpoint(directory: RunDirectory, metrics: Metrics) -> Path:
    """Return the checkpoint that the run was tested with; it may be missing."""
    is_best = metrics["tested_with"] == "best"
    return directory.best_checkpoint if is_best else directory.last_checkpoint
