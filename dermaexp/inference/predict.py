"""`python -m dermaexp predict RUN IMAGE|DIR|CSV …`: what the model of a run says of pictures."""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dermaexp.core import lean_imports
from dermaexp.core.console import console, print_error, print_table, print_warning
from dermaexp.core.errors import UserError
from dermaexp.core.files import write_bytes
from dermaexp.core.given_once import Flags
from dermaexp.core.grid import Grid
from dermaexp.data.pictures import KINDS, fitted, note_on_others, pictures_below, read_picture

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from dermaexp.data.mapped import Lazy
    from dermaexp.inference.trained import TrainedModel

    Images = Sequence[Any] | np.ndarray | Lazy | Tensor

BATCH = 256  # pictures
COLUMN = "file"  # of a CSV
SHOWN = 50  # rows in the terminal
ABSTAINED = "\N{EN DASH}"


def main() -> None:
    """Print or write the predictions; exit with 1 if a picture could not be read."""
    given = _parser().parse_args(namespace=Flags())
    if not 0 <= given.min_confidence <= 1:
        raise UserError(f"--min-confidence {given.min_confidence}: expected a number from 0 to 1")
    if given.top < 1:
        raise UserError(f"--top {given.top}: expected a number from 1")
    files = [file for path in given.pictures for file in files_of(path, given.column)]
    from dermaexp.runs.directory import RunDirectory
    from dermaexp.runs.finished import finished

    directory = RunDirectory(given.run)
    finished(directory)
    lean_imports.import_lightning()
    from dermaexp.inference.trained import trained_model  # with torch

    model = trained_model(directory)
    if given.min_confidence and model.task == "multi-label":
        raise UserError(
            "--min-confidence is of one label an image, and the model predicts several: expected "
            "none; --csv FILE holds the probability of each"
        )
    rows, failed = [], 0
    for file, answer in predictions(model, files):
        if isinstance(answer, UserError):
            print_error(str(answer))
            failed += 1
        else:
            rows.append(_row(file, answer, model, given.top, given.min_confidence))
    columns = list(rows[0]) if rows else []
    if given.csv and rows:
        write_bytes(given.csv, Grid.of(columns, rows).csv())
        console.print(f"{len(rows):,} predictions: {given.csv}", soft_wrap=True, markup=False)
    elif rows:
        folder, names = split_paths([row["file"] for row in rows])
        number = "1 picture" if len(rows) == 1 else f"{len(rows):,} pictures"
        title = f"{given.run.name}: {number}{f' in {folder}' if folder else ''}"
        shown = [name for name in columns if not name.startswith("p(")]
        below = [row | {"file": name} for row, name in zip(rows[:SHOWN], names, strict=False)]
        print_table(title, Grid.of(shown, below))
        if len(rows) > SHOWN:
            console.print(f"… and {len(rows) - SHOWN:,} more: give --csv FILE", markup=False)
    sys.exit(failed > 0)


def predictions(
    model: TrainedModel, files: Iterable[Path]
) -> Iterator[tuple[Path, np.ndarray | UserError]]:
    """Yield each file with its probabilities (K,), or with the error if it is no picture.

    Holds two batches at a time: one is decoded while the model works on the other.
    """
    import numpy as np
    import torch

    size, device = model.image_shape[1:], model.mean.device

    def read(file: Path) -> np.ndarray | UserError:
        try:
            return read_picture(file, size, model.background)
        except UserError as error:
            return error

    with ThreadPoolExecutor() as pool, torch.inference_mode():
        waiting: list[tuple[tuple[Path, ...], Iterator[np.ndarray | UserError]]] = []
        left = iter(files)
        while (batch := tuple(itertools.islice(left, BATCH))) or waiting:
            if batch:
                waiting.append((batch, pool.map(read, batch)))
                if len(waiting) < 2:
                    continue
            named, answers = waiting.pop(0)
            pictures = list(answers)
            good = [picture for picture in pictures if not isinstance(picture, UserError)]
            images = torch.from_numpy(np.stack(good)).permute(0, 3, 1, 2) if good else None
            found = iter(() if images is None else model(images.to(device)).numpy(force=True))
            for file, picture in zip(named, pictures, strict=True):
                yield file, picture if isinstance(picture, UserError) else next(found)


def probabilities_of(model: TrainedModel, images: Images) -> np.ndarray:
    """Return the probabilities (N, K) of images in memory or files, whatever their size."""
    import numpy as np
    import torch

    size, device = model.image_shape[1:], model.mean.device
    with torch.inference_mode():
        answers = [
            model(_tensor(images[start : start + BATCH], size, model.background).to(device)).cpu()
            for start in range(0, len(images), BATCH)
        ]
    return torch.cat(answers).numpy() if answers else np.empty((0, len(model.classes)), np.float32)


def _tensor(images: Any, size: tuple[int, int], background: str) -> Tensor:
    """Return a batch as uint8 (N, C, H, W) of this size."""
    import numpy as np
    import torch

    if isinstance(images, torch.Tensor):
        images = images.permute(0, 2, 3, 1).numpy(force=True)
    pictures = [picture_of(image, size, background) for image in images]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def picture_of(image: Any, size: tuple[int, int], background: str) -> np.ndarray:
    """Return a picture of any kind as RGB (H, W, 3) uint8."""
    import numpy as np
    from PIL import Image

    if isinstance(image, (str, Path)):
        return read_picture(Path(image), size, background)
    if not isinstance(image, Image.Image):
        array = np.asarray(image)
        if array.dtype != np.uint8 or array.ndim not in (2, 3):
            raise UserError(
                f"an image is {array.dtype} of shape {array.shape}: expected uint8 (H, W) or "
                "(H, W, C)"
            )
        image = Image.fromarray(array.squeeze(2) if array.shape[2:] == (1,) else array)
    return fitted(image, size, background)


def _row(
    file: Path, probabilities: np.ndarray, model: TrainedModel, top: int, least: float
) -> dict[str, Any]:
    """What is predicted, and the most probable classes; of several labels an image, all of them."""
    from dermaexp.metrics.labels import answer_text

    several, classes = model.task == "multi-label", model.classes
    order = (-probabilities).argsort(kind="stable")[:top]
    best = float(probabilities[order[0]])
    said = answer_text(probabilities, classes, several=several)
    row: dict[str, Any] = {"file": str(file), "predicted": said if best >= least else ABSTAINED}
    if several:
        row |= {"1.": classes[order[0]]}
    row["confidence"] = best
    for place, label in enumerate(order[1:], 2):
        row |= {f"{place}.": classes[label], f"confidence {place}": float(probabilities[label])}
    return row | {f"p({name})": float(p) for name, p in zip(classes, probabilities, strict=True)}


def split_paths(files: Sequence[str]) -> tuple[str, list[str]]:
    """The deepest folder that holds all files, and their names below it.

    The folder is empty, and the names are as given, for files in the current folder, and where only
    some of the paths are absolute.
    """
    try:
        folder = os.path.commonpath([Path(file).parent for file in files])
    except ValueError:
        folder = ""
    return folder, [str(Path(file).relative_to(folder)) if folder else file for file in files]


def files_of(path: Path, column: str) -> Iterator[Path]:
    """Yield the pictures that a path of the command line means; UserError if there are none."""
    if path.is_dir():
        others: Counter[str] = Counter()
        found = list(pictures_below(path, others))
        if not found:
            raise UserError(f"{path} has no pictures: expected {KINDS} files in it")
        if note := note_on_others(others):
            print_warning(f"{path}: {note}")
        yield from found
    elif path.suffix.lower() == ".csv":
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file)
                if column not in (reader.fieldnames or ()):
                    known = ", ".join(reader.fieldnames or ()) or "none"
                    raise UserError(
                        f"{path} has no column {column}: its columns are {known}; give --column"
                    )
                yield from (path.parent / row[column] for row in reader)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"{path} cannot be read: {error}") from error
    else:
        yield path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dermaexp predict",
        description="Predict the class of pictures of any size with the model of a finished run.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory")
    parser.add_argument(
        "pictures",
        nargs="+",
        type=Path,
        metavar="IMAGE|DIR|CSV",
        help="pictures, folders or lists of them",
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write all probabilities there")
    parser.add_argument("--top", type=int, default=3, help="classes to show (default 3)")
    parser.add_argument("--column", default=COLUMN, help="of a CSV with paths (default file)")
    parser.add_argument(
        "--min-confidence", type=float, default=0.0, metavar="P", help="abstain below it"
    )
    return parser
