"""Run directories below folders of any depth, found and read, also while they are written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dermaexp.errors import UserError
from dermaexp.folders import is_locked
from dermaexp.results import RunDirectory

NEEDED = {  # to compare a run
    "run.json": ("config", "choices", "overrides", "seed", "code_digest"),
    "data in run.json": ("name", "fingerprint", "test_fingerprint"),
    "metrics.json": ("data", "val", "test", "best_epoch", "seconds"),
}
NEEDED_OF_FOLDS = ("folds", "fold", "pool_fingerprint")


@dataclass(frozen=True)
class Run:
    """One run: its run.json, and its metrics.json where it finished.

    `reason` says why a finished run cannot be compared, or why another did not finish.
    """

    directory: RunDirectory
    record: dict[str, Any]
    metrics: dict[str, Any]
    reason: str | None = None

    @property
    def status(self) -> str:
        return self.record.get("status", "failed")

    @property
    def finished(self) -> bool:
        return self.status == "finished"

    @property
    def compared(self) -> bool:
        return self.finished and self.reason is None

    @property
    def name(self) -> str:
        return self.record.get("name", self.directory.path.name)

    @property
    def data(self) -> dict[str, Any]:
        """Name, fingerprint, test_fingerprint and synthetic flag; {} where it was never loaded."""
        return self.record.get("data", {})

    @property
    def tested_on(self) -> tuple[str, int]:
        """The test split's fingerprint and how many of its images were used."""
        return self.data["test_fingerprint"], self.metrics["data"]["samples"]["test"]

    @property
    def split(self) -> dict[str, Any]:
        """Its kind: "official", or "grouped", with folds, fold and the pool_fingerprint of all."""
        return self.data.get("split", {"kind": "official"})

    @property
    def fold(self) -> int | None:
        """The fold of a cross-validation that it was tested on; None of the official split."""
        return self.split.get("fold")

    @property
    def source_fingerprint(self) -> str:
        """Of all its data, the same for every fold of them."""
        return self.split.get("pool_fingerprint", self.data["fingerprint"])

    @property
    def grouping_fingerprint(self) -> str:
        """Of what its folds keep together; nothing of the official split, which does not."""
        return "" if self.fold is None else self.data.get("groups", {}).get("fingerprint", "")

    @property
    def best_epoch(self) -> int | None:
        """The epoch that val chose; None where the last one was tested."""
        chosen = self.metrics.get("tested_with", "best") == "best"
        return self.metrics["best_epoch"] if chosen else None

    @property
    def seconds(self) -> float:
        """Of the whole run."""
        return self.metrics["seconds"]["total"]

    def score(self, split: str, metric: str) -> float | None:
        """A number of metrics.json; None where it is undefined."""
        return self.metrics[split][metric]

    def history(self) -> list[dict[str, float]]:
        """Rows of history.csv; none where the run kept none that can be read."""
        try:
            return self.directory.read_history()
        except (OSError, ValueError):
            return []

    def test_predictions(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Probabilities (N, K) and targets (N,) of test; None where they cannot be read."""
        try:
            arrays = self.directory.read_predictions()
            return arrays["test_probabilities"], arrays["test_targets"]
        except (OSError, ValueError, KeyError):
            return None


def read_runs(folders: Iterable[Path]) -> list[Run]:
    """Every run in or below the `folders`, each once, in the order of the folders and of names.

    Raises UserError for a folder that is not there or holds no runs.
    """
    found: dict[Path, Run] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UserError(
                f"{folder} is not a folder: expected a run's, a sweep's, or one above them"
            )
        runs = {directory.path.resolve(): _read(directory) for directory in _directories(folder)}
        if not runs:
            raise UserError(f"{folder} holds no runs: expected run directories in it")
        found |= runs
    return list(found.values())


def _directories(folder: Path) -> Iterator[RunDirectory]:
    for path, below, _ in os.walk(folder):
        directory = RunDirectory(path)
        if directory.has_run() or directory.was_begun():
            below.clear()  # no run inside a run
            yield directory
        else:
            below[:] = sorted((name for name in below if name[0] != "."), key=_by_number)


def _by_number(name: str) -> list[tuple[str, int]]:
    """Sorts job 10 after job 9."""
    return [(text, int(number or -1)) for text, number in re.findall(r"(\D*)(\d*)", name)]


def _read(directory: RunDirectory) -> Run:
    # A file may vanish or be replaced between a look and a read: the sweep still runs.
    try:
        record = directory.read_run()
    except FileNotFoundError:
        return Run(directory, {}, {}, "it left no run.json")
    except (OSError, ValueError):
        return Run(directory, {}, {}, "its run.json cannot be read")
    if record.get("status") != "finished":
        reason = record.get("error")
        if record.get("status") == "running" and not is_locked(directory.path):
            reason = "no process of this machine is at work in it"
        return Run(directory, record, {}, reason)
    try:
        metrics = directory.read_metrics()
    except FileNotFoundError:
        return Run(directory, record, {}, "it left no metrics.json")
    except (OSError, ValueError):
        return Run(directory, record, {}, "its metrics.json cannot be read")
    return Run(directory, record, metrics, _lack(record, metrics))


def _lack(record: Mapping[str, Any], metrics: Mapping[str, Any]) -> str | None:
    contents = {
        "run.json": record,
        "data in run.json": record.get("data", {}),
        "metrics.json": metrics,
    }
    lacks = [
        f"no {key} in {name}"
        for name, keys in NEEDED.items()
        for key in keys
        if key not in contents[name]
    ]
    split = record.get("data", {}).get("split", {"kind": "official"})
    if split.get("kind") != "official":
        lacks += [f"no {key} in split" for key in NEEDED_OF_FOLDS if key not in split]
    return f"another version of dermaexp wrote it: {', '.join(lacks)}" if lacks else None
