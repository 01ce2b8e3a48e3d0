"""Time the verb predict against one picture at a time: python benchmarks/predict.py

model=cnn at 28 pixels, in one process, after a first call that is not timed. Two comparisons:
  decoded   uint8 arrays of the model's size: batches, against a batch of one for each image
  files     JPEGs of 600 x 450 pixels, as HAM10000 has them: the whole verb with its CSV, which
            decodes in several threads, against plain Pillow and the model, file by file
"""

from __future__ import annotations

import contextlib
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import dermaexp
from dermaexp.data import synthetic
from dermaexp.data.pictures import fitted
from dermaexp.inference import predict
from dermaexp.inference.trained import TrainedModel

IMAGES, FILES = 4096, 512
ALONE = 256  # images that are predicted one by one
REPEATS = 3


def seconds(way: Callable[[], object]) -> float:
    """Return the median seconds of REPEATS calls after one that does not count."""
    way()
    taken = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        way()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


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


def main() -> None:
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
        speeds = {
            ("decoded", "one by one"): ALONE
            / seconds(lambda: [answer(model, image) for image in images[:ALONE]]),
            ("decoded", "predict"): IMAGES
            / seconds(lambda: predict.probabilities_of(model, images)),
            ("files", "one by one"): FILES / seconds(lambda: one_by_one(model, files)),
            ("files", "predict"): FILES / seconds(lambda: verb(run.path, folder)),
        }
    print(f"{'input':8} {'way':10} {'images a second':>16} {'x one by one':>13}")
    for (kind, way), speed in speeds.items():
        ratio = speed / speeds[kind, "one by one"]
        print(f"{kind:8} {way:10} {speed:16,.0f} {ratio:13.2f}")


if __name__ == "__main__":
    main()
