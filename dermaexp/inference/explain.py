"""`python -m dermaexp explain RUN [IMAGE|DIR|CSV …]`: what the model of a run looks at."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dermaexp.core.console import console, print_error
from dermaexp.core.errors import UserError, nearest
from dermaexp.core.extras import required
from dermaexp.core.given_once import Flags
from dermaexp.core.overrides import command
from dermaexp.core.owned import Kind, write_files
from dermaexp.core.shortened import short_command
from dermaexp.core.version import __version__
from dermaexp.inference.predict import COLUMN, files_of
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.finished import finished
from dermaexp.runs.folders import dated_folder

if TYPE_CHECKING:
    import numpy as np

    from dermaexp.inference.sheets import Sheet
    from dermaexp.inference.trained import TrainedModel
    from dermaexp.runs.record import RunRecord

KIND = Kind("explanation.json", re.compile(r"(pictures|mistakes|class_means)\.png"))
TOP = 24  # mistakes
MOST = 100  # pictures of a sheet


def main() -> None:
    """Write the sheets; exit with 1 if a picture could not be read."""
    given = _parser().parse_intermixed_args(namespace=Flags())
    directory = RunDirectory(given.run)
    record, metrics = finished(directory)
    target = _label(given.class_, metrics["data"]["classes"])
    if given.top < 1:
        raise UserError(f"--top {given.top}: expected a number from 1")
    if target is not None and not given.pictures:
        raise UserError("--class explains pictures: give some, explain RUN --class NAME IMAGE")
    files = [file for path in given.pictures for file in files_of(path, given.column)]
    if len(files) > MOST:
        raise UserError(f"{len(files):,} pictures: one sheet holds {MOST} at most; give fewer")
    required("captum", "explain")
    from dermaexp.inference.explanation import method_of
    from dermaexp.inference.trained import trained_model

    model = trained_model(directory).to(_device(given.device, record))
    read = dict(_read(files, model.image_shape[1:], model.background))
    if files and not read:
        sys.exit(1)
    if read:
        sheets = _pictures(model, read, record, target)
    else:
        sheets = _split(model, directory, given.split, given.top)
    folder = given.output or dated_folder("explanations")
    content = {
        "command": short_command(command("explain", *sys.argv[1:]), folder),
        "version": __version__,
        "name": record["name"],
        "data": record["data"],
        "method": method_of(model),
        **({} if read else {"split": given.split}),
        **{name: sheet.content for name, sheet in sheets.items()},
    }
    _write(folder, sheets, content)
    sys.exit(len(read) < len(set(files)))


def _pictures(
    model: TrainedModel, read: dict[Path, np.ndarray], record: RunRecord, target: int | None
) -> dict[str, Sheet]:
    from dermaexp.inference import sheets

    title = f"{record['name']}, trained on {record['data']['name']}"
    return {"pictures": sheets.of_pictures(model, read, title, target)}


def _split(model: TrainedModel, directory: RunDirectory, split: str, top: int) -> dict[str, Sheet]:
    from dermaexp.inference import sheets
    from dermaexp.inference.trained import config_to_load
    from dermaexp.report.stored_run import StoredRun

    record, metrics = finished(directory)
    run = StoredRun(directory, record, config_to_load(record, metrics))
    mistakes = sheets.of_mistakes(model, run, split, top)
    if mistakes is None:
        console.print(f"no mistake in {split}", markup=False)
    means = sheets.of_class_means(model, run, split)
    return {**({"mistakes": mistakes} if mistakes else {}), "class_means": means}


def _write(folder: Path, sheets: dict[str, Sheet], content: dict[str, Any]) -> None:
    from dermaexp.report.style import png_bytes

    files = {f"{name}.png": png_bytes(sheet.figure) for name, sheet in sheets.items()}
    write_files(folder, KIND, files, content)
    for name in files:
        console.print(f"{(folder / name).absolute()}", soft_wrap=True, markup=False)


def _read(
    files: Iterable[Path], size: tuple[int, int], background: str
) -> Iterator[tuple[Path, np.ndarray]]:
    """Yield the pictures that can be read; print an error for each other one."""
    from dermaexp.data.pictures import read_picture

    for file in files:
        try:
            yield file, read_picture(file, size, background)
        except UserError as error:
            print_error(str(error))


def _label(name: str | None, classes: list[str]) -> int | None:
    if name is not None and name not in classes:
        raise UserError(f"--class {name} is unknown: {nearest(name, classes)}")
    return None if name is None else classes.index(name)


def _device(name: str | None, record: RunRecord) -> str:
    """Return the device to use; UserError for one that this machine does not have."""
    import torch

    from dermaexp.inference.repeat import accelerator_of

    if name is None:
        return accelerator_of(record)
    try:
        torch.empty(1, device=name)
    except Exception as error:  # torch raises several kinds
        raise UserError(
            f"--device {name} cannot be used here: expected cpu, cuda or mps"
        ) from error
    return name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dermaexp explain",
        description="Show which pixels speak for a class: of pictures for the class that a run's "
        "model predicts; without pictures of its most confident mistakes, and the mean of each "
        "class. Grad-CAM for models with convolutions, else integrated gradients.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory")
    parser.add_argument(
        "pictures",
        nargs="*",
        type=Path,
        metavar="IMAGE|DIR|CSV",
        help="pictures, folders or lists of them",
    )
    parser.add_argument(
        "--class", dest="class_", metavar="NAME", help="explain this class of the pictures"
    )
    parser.add_argument(
        "--split", choices=("val", "test"), default="test", help="without pictures; default test"
    )
    parser.add_argument(
        "--top", type=int, default=TOP, metavar="N", help=f"mistakes to show (default {TOP})"
    )
    parser.add_argument("--column", default=COLUMN, help="of a CSV with paths (default file)")
    parser.add_argument("--device", metavar="NAME", help="default: the run's, or the CPU")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="for the files; default: a new one in explanations/",
    )
    return parser
