"""A sweep in the trackers: in MLflow the parent run of its jobs, in wandb their group."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dermaexp.training import trackers
from dermaexp.training.trackers import MLflow, Sender, Tracked

GROUP = "WANDB_RUN_GROUP"  # wandb's own environment variable
VARIABLES = (trackers.PARENT, GROUP)
_running: list[Sender] = []  # what this process has begun


class MLflowSweep(MLflow):
    """The sweep's own run; the sweep continues in it when it is resumed."""

    def begin(self) -> str | None:
        from mlflow import MlflowClient

        client = MlflowClient(self.component["tracking_uri"])
        experiment = client.get_experiment_by_name(self.component["experiment_name"])
        if experiment:
            tag = f'tags."dermaexp.directory" = "{self.run.folder}"'
            for run in client.search_runs([experiment.experiment_id], tag):
                self.run.identity = run.info.run_id
        return super().begin()


def begin(loggers: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Begin to track the sweep in `folder`; return environment variables for its jobs.

    Raises UserError where the package of a tracker is missing.
    """
    trackers.check_packages(loggers)
    variables = {}
    if loggers.get("wandb"):
        variables[GROUP] = os.environ.get(GROUP, folder.name)
    if component := loggers.get("mlflow"):
        sender = Sender("mlflow", MLflowSweep(component, Tracked(folder.name, folder, {})))
        _running.append(sender)
        sender.begin()
        if sender.identity:
            variables[trackers.PARENT] = sender.identity
    return variables


def end(status: str, files: Iterable[Path] = ()) -> None:
    """Send the comparison's `files`, and end what was begun, if it has not ended."""
    while _running:
        sender = _running.pop()
        for file in filter(Path.is_file, files):
            sender.send("log_file", file, 0)
        sender.end(status)
