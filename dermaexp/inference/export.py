"""`python -m dermaexp export RUN`: the model and its preprocessing in a file for other programs."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dermaexp.core.console import console
from dermaexp.core.errors import UserError, one_line
from dermaexp.core.extras import required
from dermaexp.core.given_once import Flags
from dermaexp.core.owned import Kind, write_files
from dermaexp.core.shortened import shortened
from dermaexp.core.tasks import task_of
from dermaexp.core.version import __version__
from dermaexp.data.pictures import BACKGROUND
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.finished import finished, shape_of
from dermaexp.runs.folders import dated_folder

if TYPE_CHECKING:
    import numpy as np

FORMATS = {  # -> the file's name and the packages that it needs
    "onnx": ("model.onnx", ("onnx", "onnxscript", "onnxruntime")),
    "torch_export": ("model.pt2", ()),
    "safetensors": ("model.safetensors", ("safetensors",)),
}
OWN = re.compile(r"model\.(onnx|pt2|safetensors)|predict\.py")
TOLERANCE = 1e-5  # of a probability
CHECKED = 256  # test images


def main() -> None:
    given = _parser().parse_args(namespace=Flags())
    directory = RunDirectory(given.run)
    finished(directory)
    name, packages = FORMATS[given.format]
    for package in packages:
        required(package, "export")
    from dermaexp.inference import exporters  # with torch

    images, checked_on = _images(directory)
    metadata = _metadata(directory, checked_on)
    try:
        exported = exporters.BY_FORMAT[given.format](directory, _texts(metadata))
    except UserError:
        raise
    except Exception as error:  # a layer that the format does not have, for one
        raise UserError(f"the model cannot be exported as {given.format}: {_why(error)}") from error
    difference = exporters.largest_difference(directory, exported.predict, images)
    if not difference <= TOLERANCE:
        raise UserError(
            f"{name} differs from the run's model by {difference:.2g} in a probability, more than "
            f"{TOLERANCE:g}: nothing was written"
        )
    files = {name: exported.content}
    if given.format == "onnx":
        files["predict.py"] = Path(__file__).with_name("predict_onnx.py").read_bytes()
    folder = given.output or dated_folder("exports")
    write_files(
        folder, Kind(f"{name}.json", OWN), files, {**metadata, "largest_difference": difference}
    )
    console.print(
        f"checked on {checked_on}: probabilities differ from the run's model by at most "
        f"{difference:.1g}",
        markup=False,
    )
    console.print(f"{given.format}: {(folder / name).absolute()}", soft_wrap=True, markup=False)


def _images(directory: RunDirectory) -> tuple[np.ndarray, str]:
    """Return images (N, H, W, 3) uint8 to check with, and what they are.

    They are test images of the run, or noise where its data cannot be loaded.
    """
    import numpy as np

    from dermaexp.data.sample import spread
    from dermaexp.inference.trained import config_to_load
    from dermaexp.report.stored_run import StoredRun

    record, metrics = finished(directory)
    try:
        splits = StoredRun(directory, record, config_to_load(record, metrics)).splits
    except UserError as error:
        noise = np.random.default_rng(0).integers(0, 256, (64, *shape_of(metrics)[1:], 3), np.uint8)
        return noise, f"{len(noise)} images of noise, not on real images, as {error}"
    used = spread(splits.test.labels, CHECKED)
    images = splits.test.images[used]
    if images.shape[3] == 1:
        images = images.repeat(3, axis=3)
    return images, f"{len(images)} test images of {splits.title}"


def _metadata(directory: RunDirectory, checked_on: str) -> dict[str, Any]:
    """Return what the file says of itself."""
    record, metrics = finished(directory)
    _, *size = shape_of(metrics)
    content = {
        "name": record["name"],
        "model": metrics["model"]["name"],
        "task": task_of(metrics["data"]),
        "classes": metrics["data"]["classes"],
        "size": size,
        "background": record["config"]["dataset"].get("background") or BACKGROUND,
        "input": f"images: uint8 (N, {size[0]}, {size[1]}, 3), RGB from 0 to 255, any N",
        "output": "probabilities: float32 (N, classes), in the order of classes",
        "data": record["data"]["name"],
        "synthetic": record["data"]["synthetic"],
        "data_fingerprint": record["data"]["fingerprint"],
        "test_macro_auroc": metrics["test"]["macro_auroc"],
        "test_accuracy": metrics["test"]["accuracy"],
        "calibrated": "calibration" in metrics,
        "config": record["config"],
        "config_digest": record["config_digest"],
        "code_digest": record["code_digest"],
        "git_commit": record["git_commit"],
        "finished": record["finished"],
        "dermaexp": __version__,
        "checked_on": checked_on,
        "use": "not for clinical use",
    }
    return shortened(content, directory.path)


def _texts(metadata: dict[str, Any]) -> dict[str, str]:
    """The metadata as the formats hold them: texts, others in JSON."""
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in metadata.items()
    }


def _why(error: BaseException) -> str:
    """The innermost reason of torch's exporter, whose own message fills a screen."""
    while error.__cause__ is not None:
        error = error.__cause__
    line = one_line(error)
    return f"{type(error).__name__}: {line[:300]}{'…' if len(line) > 300 else ''}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dermaexp export",
        description="Write the model of a run, with its preprocessing, for other programs. Takes "
        "uint8 RGB images (N, H, W, 3) and gives probabilities; checked against the run's model.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory")
    parser.add_argument("--format", choices=tuple(FORMATS), default="onnx", help="default onnx")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="for the files; default: a new one in exports/"
    )
    return parser
