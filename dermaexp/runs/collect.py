"""Run directories below folders of any depth, found and read, also while they are written."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dermaexp.core.errors import UserError
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.locks import is_locked
from dermaexp.runs.schemas import HEADLINES, known, wrong_metrics, wrong_run

NEEDED = {  # to compare a run: where -> what must be there
    "run.json": ("config", "choices", "overrides", "seed", "code_digest", "data"),
    "data in run.json": ("name", "fingerprint", "test_fingerprint"),
    "metrics.json": ("data", "val", "test", "best_epoch", "seconds"),
    "data in metrics.json": ("classes", "samples"),
    "data.samples in metrics.json": ("test",),
    "val in metrics.json": HEADLINES,
    "test in metrics.json": (*HEADLINES, "confusion_matrix", "majority_accuracy"),
    "seconds in metrics.json": ("total",),
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
    def classes(self) -> tuple[str, ...]:
        return tuple(self.metrics["data"]["classes"])

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
        return self._history[0]

    def test_predictions(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Targets (N,) and probabilities (N, K) of test; None where they cannot be read."""
        return self._predictions[0]

    @property
    def damage(self) -> str:
        """Which files of a run that can be compared cannot be read, and why; or nothing."""
        if not self.compared:
            return ""
        return "; ".join(filter(None, (self._history[1], self._predictions[1])))

    @cached_property
    def _history(self) -> tuple[list[dict[str, float]], str]:
        """And why there is none where there is a file."""
        try:
            return (self.directory.read_history() if self.directory.has_history() else []), ""
        except (OSError, ValueError) as error:
            return [], _unreadable("history.csv", error)

    @cached_property
    def _predictions(self) -> tuple[tuple[np.ndarray, np.ndarray] | None, str]:
        """The same."""
        try:
            if not self.directory.has_predictions():
                return None, ""
            arrays = self.directory.read_predictions()
            stored = arrays["test_targets"], arrays["test_probabilities"]
        except (OSError, ValueError) as error:
            return None, _unreadable("predictions.npz", error)
        except KeyError as error:
            return None, f"its predictions.npz has no {error.args[0]}"
        confusion = np.array(self.metrics["test"]["confusion_matrix"])
        wrong = _unlike(*stored, int(confusion.sum()), len(confusion))
        return (None, f"its predictions.npz {wrong}") if wrong else (stored, "")


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
    # A file may vanish or be replaced between a look and a read: the sweep still runs.
    try:
        record = known(directory.read_run())
    except FileNotFoundError:
        return Run(directory, {}, {}, "it left no run.json")
    except (OSError, ValueError) as error:
        return Run(directory, {}, {}, _unreadable("run.json", error))
    if wrong := wrong_run(record):
        return Run(directory, {}, {}, f"its run.json is damaged: {wrong}")
    if record.get("status") != "finished":
        reason = record.get("error")
        if record.get("status") == "running" and not is_locked(directory.path):
            reason = "no process of this machine is at work in it"
        return Run(directory, record, {}, reason)
    try:
        metrics = directory.read_metrics()
    except FileNotFoundError:
        return Run(directory, record, {}, "it left no metrics.json")
    except (OSError, ValueError) as error:
        return Run(directory, record, {}, _unreadable("metrics.json", error))
    if wrong := wrong_metrics(metrics):
        return Run(directory, record, {}, f"its metrics.json is damaged: {wrong}")
    return Run(directory, record, metrics, _lack(record, metrics))


def _unreadable(name: str, error: OSError | ValueError) -> str:
    line = f"its {name} cannot be read"
    if isinstance(error.__cause__, json.JSONDecodeError):  # its place says nothing to a reader
        return line
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(f"{line}: {reason.removeprefix(f'{name}: ')}".split())


def _lack(record: Mapping[str, Any], metrics: Mapping[str, Any]) -> str | None:
    files = {"run.json": record, "metrics.json": metrics}
    lacks = []
    for place, keys in NEEDED.items():
        path, _, name = place.rpartition(" in ")
        content: Any = files[name]
        for part in filter(None, path.split(".")):
            content = None if content is None else content.get(part)
        if content is not None:  # else it is what is lacking
            lacks += [f"no {key} in {place}" for key in keys if key not in content]
    split = record.get("data", {}).get("split", {"kind": "official"})
    if split.get("kind") != "official":
        lacks += [f"no {key} in split" for key in NEEDED_OF_FOLDS if key not in split]
    return f"another version of dermaexp wrote it: {', '.join(lacks)}" if lacks else None


def _unlike(targets: np.ndarray, probabilities: np.ndarray, images: int, classes: int) -> str:
    """In what the test predictions are none of so many images and classes; or nothing."""
    if probabilities.shape != (images, classes) or targets.shape != (images,):
        return f"is not of the {images} test images and {classes} classes in metrics.json"
    if probabilities.dtype.kind != "f" or targets.dtype.kind not in "iu":
        return "holds other things than probabilities and classes"
    if not np.isfinite(probabilities).all():
        return "holds probabilities that are no numbers"
    if targets.min() < 0 or targets.max() >= classes:
        return "holds classes that metrics.json does not know"
    return ""


def _of_same_classes(runs: Sequence[Run]) -> list[Run]:
    """The runs, those left out that know other classes than most with the same test images."""
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
