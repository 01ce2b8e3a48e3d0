"""The run directory: its files and their schemas, read and written here only."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dermaexp.core.errors import UserError
from dermaexp.core.files import _named, _read_json, _write_json, write_bytes, write_csv
from dermaexp.runs.locks import LOCK

METRICS_SCHEMA = 1
STATUSES = ("running", "finished", "failed", "interrupted")
HISTORY_COLUMNS = (
    "epoch",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "val_macro_auroc",
    "lr",
    "seconds",
)
FIGURES = (  # of a run, each by a callback of that name
    "learning_curves",
    "confusion_matrix",
    "per_class_accuracy",
    "roc_curves",
    "precision_recall_curves",
    "reliability",
    "misclassified",
    "montage",
)
RESULTS = ("history.csv", "metrics.json", "predictions.npz", "report.html")
FOLDERS = ("checkpoints", "figures", "medmnist")
CHECKPOINTS = ("best.ckpt", "last.ckpt")
NAMES = ("run.json", *RESULTS, *FOLDERS)  # all that a run writes itself
NAMES_OF_HYDRA = (".hydra", "dermaexp.log", LOCK)  # that are written before the run begins
LONGEST_NAME, LONGEST_BYTES = 100, 180  # file systems allow 255 bytes, and names get additions
PNG_HEAD = 512  # bytes, in which Matplotlib names itself
SURPLUS = ""  # of a row of history.csv


class RunDirectory:
    """Reads and writes the files of one run."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def best_checkpoint(self) -> Path:
        return self.checkpoints / "best.ckpt"

    @property
    def last_checkpoint(self) -> Path:
        return self.checkpoints / "last.ckpt"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    @property
    def medmnist(self) -> Path:
        return self.path / "medmnist"

    def check_unused(self, names: Iterable[str] = NAMES) -> None:
        """Raise UserError where one of `names` is there, but no run.json that says whose it is."""
        if self.has_run():
            return
        if found := those_there(self.path, names):
            raise UserError(
                f"{self.path} holds {', '.join(found)} but no run.json of dermaexp: nothing was "
                "written there; give another folder, hydra.run.dir=DIR"
            )

    def foreign_figures(self) -> list[Path]:
        """Files that are called like our figures and that Matplotlib did not draw."""
        files = [self.figures / f"{name}.png" for name in FIGURES]
        return [file for file in files if file.exists() and not _is_drawn(file)]

    def clear(self, name: str) -> None:
        """Remove what an attempt of the run `name` left that is not resumed.

        Its log stays, and so does every file that dermaexp did not write.
        """
        files = [self.path / result for result in RESULTS]
        files += [self.checkpoints / checkpoint for checkpoint in CHECKPOINTS]
        files += [self.figures / f"{figure}.png" for figure in FIGURES]
        for file in (*files, *self._medmnist_results(name)):
            file.unlink(missing_ok=True)
        for folder in FOLDERS:
            with contextlib.suppress(OSError):  # it holds more, or is not there
                (self.path / folder).rmdir()

    def write_run(self, record: Mapping[str, Any]) -> None:
        _write_json(self.path / "run.json", record)

    def read_run(self) -> dict[str, Any]:
        """The content of run.json; ValueError where it is damaged."""
        return _read_json(self.path / "run.json")

    def read_earlier(self) -> dict[str, Any] | None:
        """run.json of an earlier attempt, if there was one.

        Raises UserError where it is damaged, or where dermaexp did not write it.
        """
        try:
            record = self.read_run() if self.has_run() else None
        except ValueError as error:
            raise UserError(
                f"{self.path / 'run.json'} is damaged: move the folder {self.path} away, and the "
                "same command starts the run anew"
            ) from error
        if record is not None and not (record.get("status") in STATUSES and "command" in record):
            raise UserError(
                f"{self.path / 'run.json'} was not written by dermaexp: nothing was changed; give "
                "another folder"
            )
        return record

    def has_run(self) -> bool:
        return (self.path / "run.json").exists()

    def write_metrics(self, values: Mapping[str, Any]) -> None:
        _write_json(self.path / "metrics.json", {"schema": METRICS_SCHEMA, **values})

    def read_metrics(self) -> dict[str, Any]:
        return _read_json(self.path / "metrics.json")

    def has_metrics(self) -> bool:
        return (self.path / "metrics.json").exists()

    def has_results(self, *, predictions: bool, calibration: bool = False) -> bool:
        """Whether metrics.json, and of the others what is asked for, are there and whole.

        `predictions` is predictions.npz, `calibration` a part of metrics.json.
        """
        try:
            numbers = self.read_metrics()
            if predictions:
                self.read_predictions()
        except (OSError, ValueError):
            return False
        return "calibration" in numbers or not calibration

    def write_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        write_csv(self.path / "history.csv", HISTORY_COLUMNS, rows)

    def read_history(self) -> list[dict[str, float]]:
        """Rows by epoch; a value that was not a number is read as NaN.

        Columns that we do not know are left out. Raises ValueError where one of ours is missing,
        or where a row has more values than there are columns.
        """
        path = self.path / "history.csv"
        with _named(path), path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, restkey=SURPLUS)
            for column in HISTORY_COLUMNS:
                if column not in (reader.fieldnames or ()):
                    raise ValueError(f"it has no column {column}")
            rows = []
            for row in reader:
                if SURPLUS in row:
                    raise ValueError(f"line {reader.line_num} has more values than columns")
                if None in row.values():
                    raise ValueError(f"line {reader.line_num} has fewer values than columns")
                rows.append({key: float(row[key] or "nan") for key in HISTORY_COLUMNS})
            return rows

    def has_report(self) -> bool:
        """Whether there is a page, written after run.json was for the last time."""
        try:
            return self.report.stat().st_mtime_ns >= (self.path / "run.json").stat().st_mtime_ns
        except FileNotFoundError:
            return False

    def has_history(self) -> bool:
        return (self.path / "history.csv").exists()

    def write_predictions(self, **arrays: np.ndarray) -> None:
        """Arrays `{val,test}_probabilities` (N, K) float32 and `{val,test}_targets` (N,) int64."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        write_bytes(self.path / "predictions.npz", buffer.getvalue())

    def has_predictions(self) -> bool:
        return (self.path / "predictions.npz").exists()

    def read_predictions(self) -> dict[str, np.ndarray]:
        path = self.path / "predictions.npz"
        with _named(path), np.load(path, allow_pickle=False) as file:
            return dict(file)

    def write_medmnist_result(self, stem: str, name: str, scores: np.ndarray) -> None:
        """medmnist/STEM@NAME.csv in place of an earlier one of the run `name` on this split.

        `stem` is FLAG_SPLIT_[AUC]…_[ACC]…, such as dermamnist_test_[AUC]0.9_[ACC]0.7.

        A row an image, without a heading: its index, and its scores (N, K) float32 in so many
        digits that they are read back equal.
        """
        text = io.StringIO()
        rows = np.column_stack([np.arange(len(scores)), scores.astype(np.float64)])
        np.savetxt(text, rows, ["%d", *["%.9g"] * scores.shape[1]], delimiter=",")
        path = self.medmnist / f"{stem}@{_medmnist_name(name)}.csv"
        write_bytes(path, text.getvalue().encode())
        split = stem.partition("[AUC]")[0]
        for other in self._medmnist_results(name):
            if other != path and other.name.startswith(split):
                other.unlink()

    def _medmnist_results(self, name: str) -> list[Path]:
        """The result files of the run `name`; those of others may have been put beside them."""
        end = f"@{_medmnist_name(name)}.csv"
        return [file for file in self.medmnist.glob("*.csv") if file.name.endswith(end)]


def those_there(folder: Path, names: Iterable[str]) -> list[str]:
    """Which of the names are in `folder`; a lock that holds nothing is nobody's."""
    found = [name for name in names if os.path.lexists(folder / name)]  # also a dangling link
    return [name for name in found if name != LOCK or (folder / name).lstat().st_size]


def _is_drawn(file: Path) -> bool:
    with file.open("rb") as content:
        return b"Matplotlib" in content.read(PNG_HEAD)


def _medmnist_name(name: str) -> str:
    """The run's name in a result file: what medmnist reads between "@" and the next dot."""
    return shortened(re.sub(r"[^\w+=-]+", "-", name))


def shortened(name: str) -> str:
    """At most LONGEST_NAME characters and LONGEST_BYTES bytes of a name of a file or folder."""
    return name[:LONGEST_NAME].encode()[:LONGEST_BYTES].decode(errors="ignore")
