"""The run directory: its files and their schemas, read and written here only."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dermaexp.errors import UserError, explain
from dermaexp.provenance import provenance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
LOCK = ".lock"
NAMES_OF_HYDRA = (".hydra", "dermaexp.log", LOCK)  # that are written before the run begins
LONGEST_NAME, LONGEST_BYTES = 100, 180  # file systems allow 255 bytes, and names get additions
SURPLUS = ""  # of a row of history.csv
FORMULA = ("=", "+", "-", "@", "\t", "\n", "\N{FULLWIDTH EQUALS SIGN}")  # begin one in a cell
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
FIGURE_DPI = 100
FASTER_PNG = {"compress_level": 3}  # in half the time, a tenth larger


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

    def was_begun(self) -> bool:
        """Whether Hydra started a job here, be it without leaving a run.json."""
        return (self.path / ".hydra").is_dir()

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

    def write_figure(self, name: str, figure: Figure) -> None:
        write_figure(self.path, name, figure)


@contextlib.contextmanager
def recording(
    directory: RunDirectory, earlier: Mapping[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Keep run.json true to the run inside: running, then finished, failed or interrupted.

    Gives the record; what is added to it is written at the end, or by `write_run` before. The
    record of an `earlier` attempt stays until this one has loaded its "data".
    """
    record = {"status": "running", "started": _now(), "finished": None, **provenance()}
    if earlier is None:
        directory.write_run(record)
    try:
        yield record
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        record["status"] = "interrupted" if interrupted else "failed"
        record["error"] = None if interrupted else explain(error)
        record["finished"] = _now()
        if earlier is None or "data" in record:
            # On a full disk this fails too; the error itself matters more.
            with contextlib.suppress(OSError):
                directory.write_run(record)
        raise
    record["status"] = "finished"
    record["finished"] = _now()
    directory.write_run(record)


def those_there(folder: Path, names: Iterable[str]) -> list[str]:
    """Which of the names are in `folder`; a lock that holds nothing is nobody's."""
    found = [name for name in names if (folder / name).exists()]
    return [name for name in found if name != LOCK or (folder / name).stat().st_size]


def _medmnist_name(name: str) -> str:
    """The run's name in a result file: what medmnist reads between "@" and the next dot."""
    return shortened(re.sub(r"[^\w+=-]+", "-", name))


def shortened(name: str) -> str:
    """At most LONGEST_NAME characters and LONGEST_BYTES bytes of a name of a file or folder."""
    return name[:LONGEST_NAME].encode()[:LONGEST_BYTES].decode(errors="ignore")


def write_bytes(path: Path, content: bytes) -> None:
    """Write the whole file or nothing: beside it first, then renamed over it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `rows` under a header of `columns`, whole or not at all."""
    write_bytes(path, csv_bytes(columns, rows))


def csv_bytes(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The file that `write_csv` writes; a text in it that is no number is no formula either."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in (columns, *([row.get(column) for column in columns] for row in rows)):
        writer.writerow([_no_formula(cell) for cell in row])
    return text.getvalue().encode(errors="replace")  # of names of folders that are no Unicode


def _no_formula(cell: Any) -> Any:
    """With the quote before it that spreadsheets take for text, as OWASP advises."""
    if not isinstance(cell, str):
        return cell
    cell = "\n".join(cell.split("\r"))  # which would end the row, for csv does not quote it
    return f"'{cell}" if cell.startswith(FORMULA) and not NUMBER.fullmatch(cell) else cell


def write_figure(folder: Path, name: str, figure: Figure) -> None:
    """Write `figure` to `folder`/figures/, on white."""
    write_bytes(folder / "figures" / f"{name}.png", png_bytes(figure))


def png_bytes(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    options = {"dpi": FIGURE_DPI, "facecolor": "white", "pil_kwargs": FASTER_PNG}
    figure.savefig(buffer, format="png", **options)
    return buffer.getvalue()


def config_digest(config: Mapping[str, Any]) -> str:
    """SHA-256 of the resolved config, the same for the same settings in any order."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(_finite(content), indent=2, allow_nan=False, ensure_ascii=False)
    # A list of numbers stays on one line, as the rows of a confusion matrix do on paper.
    text = re.sub(r"\[\n[\d\s,.e+-]+\]", lambda row: re.sub(r"\s+", " ", row[0]), text)
    write_bytes(path, f"{text}\n".encode())


def _read_json(path: Path) -> dict[str, Any]:
    with _named(path):
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"a {type(content).__name__}, expected an object")
        return content


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Raise what is wrong with the content of a file as a ValueError that names it."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # NumPy's and zipfile's on damaged bytes have nothing in common
        raise ValueError(f"{path.name}: {error}") from error


def _finite(value: Any) -> Any:
    """The value with NaN and infinity as None: JSON has no number for them."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
