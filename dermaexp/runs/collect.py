"""Finds and reads the runs below any folders, also while they are being written."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np

from dermaexp.core.errors import UserError
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.locks import is_locked
from dermaexp.runs.metrics_file import Metrics
from dermaexp.runs.record import RunRecord

# Of a run whose files cannot be read.
NO_RECORD, NO_METRICS = cast(RunRecord, {}), cast(Metrics, {})


@dataclass(frozen=True)
class Run:
    """One run: its run.json, and its metrics.json if it finished; empty if they cannot be read.

    `reason` says why it did not finish or cannot be compared.
    """

    directory: RunDirectory
    record: RunRecord
    metrics: Metrics
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
    def data(self) -> Mapping[str, Any]:
        """What run.json says of the data; {} if they were never loaded."""
        return self.record.get("data", {})

    @property
    def tested_on(self) -> tuple[str, int]:
        """The test split's fingerprint and how many of its images were used."""
        return self.data["test_fingerprint"], self.metrics["data"]["samples"]["test"]

    @property
    def split(self) -> Mapping[str, Any]:
        """Its kind: "official", or "grouped", with folds, fold and the pool_fingerprint of all."""
        return self.data.get("split", {})

    @property
    def fold(self) -> int | None:
        """The test fold of a cross-validation; None for the official split."""
        return self.split.get("fold")

    @property
    def source_fingerprint(self) -> str:
        """The fingerprint of all images, the same for every fold of them."""
        return self.split.get("pool_fingerprint", self.data["fingerprint"])

    @property
    def grouping_fingerprint(self) -> str:
        """The fingerprint of the lesion groups that the folds keep together; "" without folds."""
        return "" if self.fold is None else self.data.get("groups", {}).get("fingerprint", "")

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.metrics["data"]["classes"])

    @property
    def best_epoch(self) -> int | None:
        """The epoch chosen by val; None if the last one was tested."""
        return self.metrics["best_epoch"] if self.metrics["tested_with"] == "best" else None

    @property
    def seconds(self) -> float:
        """The duration of the whole run."""
        return self.metrics["seconds"]["total"]

    def score(self, split: str, metric: str) -> float | None:
        """A number of metrics.json; None if it is undefined."""
        numbers: Mapping[str, Any] = self.metrics
        return numbers[split].get(metric)  # a run from before tasks were recorded has fewer

    def history(self) -> list[dict[str, float]]:
        """Rows of history.csv; [] if there are none that can be read."""
        return self._history[0]

    def test_predictions(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Targets (N,) or (N, L) and probabilities of test; None if they cannot be read."""
        return self._predictions[0]

    @property
    def damage(self) -> str:
        """Which files of a compared run cannot be read, and why; "" if all can."""
        if not self.compared:
            return ""
        return "; ".join(filter(None, (self._history[1], self._predictions[1])))

    @cached_property
    def _history(self) -> tuple[list[dict[str, float]], str]:
        """The rows, and why a file that is there cannot be read."""
        try:
            return (self.directory.read_history() if self.directory.has_history() else []), ""
        except (OSError, ValueError) as error:
            return [], _unreadable("history.csv", error)

    @cached_property
    def _predictions(self) -> tuple[tuple[np.ndarray, np.ndarray] | None, str]:
        """The predictions, and why a file that is there cannot be read."""
        try:
            if not self.directory.has_predictions():
                return None, ""
            arrays = self.directory.read_predictions("test")
            stored = arrays["test_targets"], arrays["test_probabilities"]
        except (OSError, ValueError) as error:
            return None, _unreadable("predictions.npz", error)
        except KeyError as error:
            return None, f"its predictions.npz has no {error.args[0]}"
        test = self.metrics["test"]
        several = "confusion_matrices" in test
        counts = test["confusion_matrices"][0] if several else test["confusion_matrix"]
        wrong = _unlike(*stored, sum(map(sum, counts)), len(self.classes), several)
        return (None, f"its predictions.npz {wrong}") if wrong else (stored, "")


def read_runs(folders: Iterable[Path]) -> list[Run]:
    """Every run in or below the `folders`, each once, in the order of the folders and of names.

    Raises UserError for a folder that does not exist or holds no runs.
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
    return _of_same_classes(list(found.values()))


def _directories(folder: Path) -> Iterator[RunDirectory]:
    for path, below, files in os.walk(folder):
        # By their names alone: what cannot be read is a run nevertheless.
        if "run.json" in (*below, *files) or ".hydra" in below:
            below.clear()  # no run inside a run
            yield RunDirectory(path)
        else:
            below[:] = sorted((name for name in below if name[0] != "."), key=_by_number)


def _by_number(name: str) -> list[tuple[str, int]]:
    """Sorts job 10 after job 9."""
    return [(text, int(number or -1)) for text, number in re.findall(r"(\D*)(\d*)", name)]


def _read(directory: RunDirectory) -> Run:
    run = Run(directory, NO_RECORD, NO_METRICS)
    try:
        run = replace(run, record=directory.read_run())
        if run.finished:
            return replace(run, metrics=directory.read_metrics())
    except FileNotFoundError as error:
        return replace(run, reason=f"it left no {Path(error.filename).name}")
    except UserError as error:  # a newer version wrote it
        return replace(run, reason=str(error))
    except (OSError, ValueError) as error:
        name = "metrics.json" if run.finished else "run.json"
        return replace(run, reason=_unreadable(name, error))
    reason = run.record.get("error")
    if run.status == "pruned":
        reason = f"its search pruned it after epoch {run.record['pruned_after']}"
    if run.status == "running" and not is_locked(directory.path):
        reason = "no process of this machine is at work in it"
    return replace(run, reason=reason)


def _unreadable(name: str, error: OSError | ValueError) -> str:
    line = f"its {name} cannot be read"
    if isinstance(error.__cause__, json.JSONDecodeError):  # its place says nothing to a reader
        return line
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(f"{line}: {reason.removeprefix(f'{name}: ')}".split())


def _unlike(
    targets: np.ndarray, probabilities: np.ndarray, images: int, classes: int, several: bool
) -> str:
    """How test predictions differ from those of so many images and classes; "" if they do not.

    `several` labels an image have indicators as targets.
    """
    shape = (images, classes) if several else (images,)
    if probabilities.shape != (images, classes) or targets.shape != shape:
        return f"is not of the {images} test images and {classes} classes in metrics.json"
    if probabilities.dtype.kind != "f" or targets.dtype.kind not in "iu":
        return "holds other things than probabilities and classes"
    if not np.isfinite(probabilities).all():
        return "holds probabilities that are no numbers"
    if targets.min() < 0 or targets.max() >= (2 if several else classes):
        return "holds classes that metrics.json does not know"
    return ""


def _of_same_classes(runs: Sequence[Run]) -> list[Run]:
    """The runs, with a reason for each that has other classes than most with its test images."""
    counts: dict[str, Counter[tuple[str, ...]]] = {}
    for run in runs:
        if run.compared:
            counts.setdefault(run.data["test_fingerprint"], Counter())[run.classes] += 1
    found = []
    for run in runs:
        if run.compared:
            ((usual, _),) = counts[run.data["test_fingerprint"]].most_common(1)
            if run.classes != usual:
                reason = f"its metrics.json knows {len(run.classes)} classes "
                reason += f"({', '.join(run.classes)}), those of others with the same test images "
                run = replace(run, reason=f"{reason}know {len(usual)} ({', '.join(usual)})")
        found.append(run)
    return found
