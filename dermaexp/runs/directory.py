"""The run directory: its files, read and written here only."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dermaexp.core.errors import UserError
from dermaexp.core.files import naming, read_json, write_bytes, write_json
from dermaexp.core.grid import Grid
from dermaexp.runs.locks import LOCK

if TYPE_CHECKING:  # NumPy and pydantic would slow down each start of the command line
    import numpy as np

    from dermaexp.runs.metrics_file import Metrics
    from dermaexp.runs.record import RunRecord

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
FIGURES = (  # in the order of a run's page, each by a callback of that name
    "learning_curves",
    "confusion_matrix",
    "per_class_accuracy",
    "roc_curves",
    "precision_recall_curves",
    "reliability",
    "misclassified",
    "montage",
)
RESAMPLED = "resampled.npz"
RESULTS = ("history.csv", "metrics.json", "predictions.npz", "report.html", RESAMPLED)
FOLDERS = ("checkpoints", "figures", "medmnist", "tensorboard")
NAMES = ("run.json", *RESULTS, *FOLDERS)  # all that a run writes itself
NAMES_OF_HYDRA = (".hydra", "dermaexp.log", LOCK)  # written before the run begins
LONGEST_NAME, LONGEST_BYTES = 100, 180  # file systems allow 255 bytes, and names get additions
PNG_HEAD = 512  # bytes, in which Matplotlib names itself
Stamp = tuple[int, int, int]
SURPLUS = ""  # the key of what a row of history.csv has beyond its columns


class RunDirectory:
    """Reads and writes the files of one run."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.best_checkpoint = self.checkpoints / "best.ckpt"
        self.last_checkpoint = self.checkpoints / "last.ckpt"
        self.report = self.path / "report.html"
        self.figures = self.path / "figures"
        self.medmnist = self.path / "medmnist"
        self.tensorboard = self.path / "tensorboard"

    def check_unused(self, names: Iterable[str] = NAMES) -> None:
        """Raise UserError if one of `names` exists without a run.json that says whose it is."""
        if self.has_run():
            return
        if found := those_there(self.path, names):
            raise UserError(
                f"{self.path} holds {', '.join(found)} but no run.json of dermaexp: nothing was "
                "written there; give another folder, hydra.run.dir=DIR"
            )

    def foreign_figures(self) -> list[Path]:
        """Files with the names of our figures that Matplotlib did not write."""
        files = [self.figures / f"{name}.png" for name in FIGURES]
        return [file for file in files if file.exists() and not _is_figure(file)]

    def clear(self, name: str) -> None:
        """Remove the results of the run `name`, which is not resumed but starts anew.

        Keeps its log and every file that dermaexp did not write.
        """
        files = [self.path / result for result in RESULTS]
        files += [self.best_checkpoint, self.last_checkpoint]
        files += [self.figures / f"{figure}.png" for figure in FIGURES]
        files += [
            *self.tensorboard.glob("events.out.tfevents.*"),
            self.tensorboard / "hparams.yaml",
        ]
        for file in (*files, *self._medmnist_results(name)):
            file.unlink(missing_ok=True)
        for folder in FOLDERS:
            with contextlib.suppress(OSError):  # it holds more, or is not there
                (self.path / folder).rmdir()

    def checkpoint_files(self) -> list[Path]:
        """Those of our two checkpoints that are there."""
        return [file for file in (self.best_checkpoint, self.last_checkpoint) if file.exists()]

    def remove_checkpoints(self, *, keep: Collection[Path] = ()) -> int:
        """Remove our checkpoints but those to `keep`; return the bytes that this frees."""
        freed = 0
        for file in self.checkpoint_files():
            if file not in keep:
                freed += file.stat().st_size
                file.unlink()
        with contextlib.suppress(OSError):  # it holds more, or is not there
            self.checkpoints.rmdir()
        return freed

    def write_run(self, record: Mapping[str, Any]) -> None:
        from dermaexp.runs.schemas import SCHEMA

        write_json(self.path / "run.json", {"schema": SCHEMA, **record})

    def read_run(self) -> RunRecord:
        """The content of run.json; ValueError if it is damaged, UserError if it is newer."""
        from dermaexp.runs.record import checked_record

        path = self.path / "run.json"
        return checked_record(path, read_json(path))

    def read_earlier(self) -> RunRecord | None:
        """run.json of an earlier attempt, if there was one.

        Raises UserError if it is damaged or if dermaexp did not write it.
        """
        from dermaexp.runs.record import STATUSES, checked_record

        if not self.has_run():
            return None
        path = self.path / "run.json"
        try:
            content = read_json(path)
            if content.get("status") in STATUSES and "command" in content:
                return checked_record(path, content)
        except ValueError as error:
            raise UserError(
                f"{path} is damaged: move the folder {self.path} away, and the same command starts "
                "the run anew"
            ) from error
        raise UserError(
            f"{path} was not written by dermaexp: nothing was changed; give another folder"
        )

    def has_run(self) -> bool:
        return (self.path / "run.json").exists()

    def run_stamp(self) -> Stamp:
        """What tells one run.json from the next, in one call; OSError if there is none."""
        found = (self.path / "run.json").stat()
        return found.st_ino, found.st_size, found.st_mtime_ns

    def stamps(self) -> list[tuple[int, int] | None]:
        """Size and time of each result, None for one that is not there: tells whether one changed.

        Without what a comparison itself leaves.
        """
        found: list[tuple[int, int] | None] = []
        for name in ("run.json", *RESULTS):
            if name != RESAMPLED:
                try:
                    status = (self.path / name).stat()
                    found.append((status.st_size, status.st_mtime_ns))
                except OSError:
                    found.append(None)
        return found

    def write_metrics(self, values: Mapping[str, Any]) -> None:
        from dermaexp.runs.schemas import SCHEMA

        write_json(self.path / "metrics.json", {"schema": SCHEMA, **values})

    def read_metrics(self) -> Metrics:
        """The content of metrics.json; errors as of `read_run`."""
        from dermaexp.runs.metrics_file import checked_metrics

        path = self.path / "metrics.json"
        return checked_metrics(path, read_json(path))

    def has_metrics(self) -> bool:
        return (self.path / "metrics.json").exists()

    def has_results(self, *, predictions: bool, calibration: bool = False) -> bool:
        """Whether metrics.json is there and whole, and so is what else is asked for.

        `predictions` asks for predictions.npz, `calibration` for that part of metrics.json.
        """
        try:
            numbers = self.read_metrics()
            if predictions:
                self.read_predictions()
        except (OSError, ValueError):
            return False
        return "calibration" in numbers or not calibration

    def write_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        write_bytes(self.path / "history.csv", Grid.of(HISTORY_COLUMNS, rows).csv())

    def read_history(self) -> list[dict[str, float]]:
        """A row for each epoch; reads an undefined value as NaN and leaves out unknown columns.

        Raises ValueError if a column is missing or a row has another number of values.
        """
        path = self.path / "history.csv"
        with naming(path), path.open(newline="", encoding="utf-8") as file:
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
        """Whether there is a page that is newer than run.json."""
        try:
            return self.report.stat().st_mtime_ns >= (self.path / "run.json").stat().st_mtime_ns
        except FileNotFoundError:
            return False

    def has_history(self) -> bool:
        return (self.path / "history.csv").exists()

    def write_predictions(self, **arrays: np.ndarray) -> None:
        """Write `{val,test}_probabilities` (N, K) float32 and `{val,test}_targets` int64.

        Targets are (N,), or indicators (N, K) of several labels an image.
        """
        import numpy as np

        buffer = io.BytesIO()
        untyped: dict[str, Any] = {**arrays}  # else mypy takes one of them for allow_pickle
        np.savez_compressed(buffer, **untyped)
        write_bytes(self.path / "predictions.npz", buffer.getvalue())

    def has_predictions(self) -> bool:
        return (self.path / "predictions.npz").exists()

    def read_predictions(self, split: str = "") -> dict[str, np.ndarray]:
        """The arrays of predictions.npz, or those of one split alone, "val" or "test"."""
        import numpy as np

        path = self.path / "predictions.npz"
        with naming(path), np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file if name.startswith(split)}

    def write_resampled(self, key: str, scores: np.ndarray) -> None:
        """Write resampled.npz: `scores` that a comparison computed, and what they depend on."""
        import numpy as np

        buffer = io.BytesIO()
        np.savez(buffer, key=np.array(key), scores=scores)
        write_bytes(self.path / RESAMPLED, buffer.getvalue(), durably=False)

    def read_resampled(self, key: str) -> np.ndarray | None:
        """The scores of resampled.npz; None if they are those of another key.

        OSError if there is none, ValueError if it is damaged.
        """
        import numpy as np

        path = self.path / RESAMPLED
        with naming(path), np.load(path, allow_pickle=False) as file:
            return file["scores"] if file["key"] == key else None

    def write_medmnist_result(self, stem: str, name: str, scores: np.ndarray) -> None:
        """Write medmnist/STEM@NAME.csv in place of the run's earlier result on this split.

        `stem` is FLAG_SPLIT_[AUC]…_[ACC]…, such as dermamnist_test_[AUC]0.9_[ACC]0.7. The file has
        no heading and a row for each image: its index and its `scores` (K,), with enough digits
        that float32 values read back equal.
        """
        import numpy as np

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
        """The result files of the run `name`; users may have put others beside them."""
        end = f"@{_medmnist_name(name)}.csv"
        return [file for file in self.medmnist.glob("*.csv") if file.name.endswith(end)]


def those_there(folder: Path, names: Iterable[str]) -> list[str]:
    """Which of the names are in `folder`; an empty lock does not count, it is nobody's."""
    found = [name for name in names if os.path.lexists(folder / name)]  # also a dangling link
    return [name for name in found if name != LOCK or (folder / name).lstat().st_size]


def _is_figure(file: Path) -> bool:
    with file.open("rb") as content:
        return b"Matplotlib" in content.read(PNG_HEAD)


def _medmnist_name(name: str) -> str:
    """The run's name in a result file, which medmnist reads between "@" and the next dot."""
    return shortened(re.sub(r"[^\w+=-]+", "-", name))


def shortened(name: str) -> str:
    """The name of a file or folder, cut to LONGEST_NAME characters and LONGEST_BYTES bytes."""
    return name[:LONGEST_NAME].encode()[:LONGEST_BYTES].decode(errors="ignore")
