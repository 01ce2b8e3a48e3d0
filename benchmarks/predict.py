"""Time the verb predict against one picture at a time: python -m benchmarks predict

model=cnn at 28 pixels, in one process, after a first call that is not timed. Two comparisons:
  decoded   uint8 arrays of the model's size: batches, against a batch of one for each image
  files     JPEGs of 600 x 450 pixels, as HAM10000 has them: the whole verb with its CSV, which
            decodes in several threads, against plain Pillow and the model, file by file
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import dermaexp
from benchmarks.measure import Spread, Table, alternate, compared
from dermaexp.data import synthetic
from dermaexp.data.pictures import fitted
from dermaexp.inference import predict
from dermaexp.inference.trained import TrainedModel

IMAGES, FILES = 4096, 512
ALONE = 256  # images that are predicted one by one
REPEATS = 3


def answer(model: TrainedModel, image: np.ndarray) -> np.ndarray:
    """Predict one image (H, W, 3)."""
    with torch.inference_mode():
        return model(torch.from_numpy(image.copy()).permute(2, 0, 1)[None]).numpy()


def one_by_one(model: TrainedModel, files: list[Path]) -> None:
    for file in files:
        with Image.open(file) as image:
            answer(model, fitted(image, model.image_shape[1:]))


def verb(run: Path, folder: Path) -> None:
    sys.argv[1:] = [str(run), str(folder), "--csv", str(folder / "out.csv")]
    with contextlib.suppress(SystemExit):
        predict.main()


def drop(_: object) -> None:
    """Return nothing, as a side that is timed does."""


def speeds(title: str, counts: Mapping[str, int], seconds: Mapping[str, Spread]) -> Table:
    """Return images a second from the seconds of `counts` images."""
    each = {
        name: Spread([counts[name] / value for value in own.values], digits=0)
        for name, own in seconds.items()
    }
    return Table(title, compared(each, "one by one", "images a second"))


def measure() -> list[Table]:
    images = synthetic.load().train.images[:IMAGES]
    with tempfile.TemporaryDirectory() as temporary, contextlib.redirect_stdout(io.StringIO()):
        folder = Path(temporary, "pictures")
        folder.mkdir()
        run = dermaexp.run(
            [
                *("model=cnn", "dataset=synthetic", "trainer=debug", "callbacks=no_figures"),
                f"hydra.run.dir={temporary}/run",
            ]
        )
        for index, image in enumerate(images[:FILES]):
            large = Image.fromarray(image).resize((600, 450), Image.Resampling.BICUBIC)
            large.save(folder / f"{index:04}.jpg", quality=90)
        files, model = sorted(folder.glob("*.jpg")), run.model
        decoded = alternate(
            {
                "one by one": lambda: drop([answer(model, image) for image in images[:ALONE]]),
                "predict": lambda: drop(predict.probabilities_of(model, images)),
            },
            REPEATS,
        )
        from_files = alternate(
            {
                "one by one": lambda: one_by_one(model, files),
                "predict": lambda: verb(run.path, folder),
            },
            REPEATS,
        )
    return [
        speeds("decoded images", {"one by one": ALONE, "predict": IMAGES}, decoded),
        speeds("JPEG files", dict.fromkeys(from_files, FILES), from_files),
    ]
