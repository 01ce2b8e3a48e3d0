"""What does comparing 500 runs in 50 run groups take, the first time and again?

Whole processes of `python -m dermaexp compare`. Every run is a copy of one real run, with seed,
values and predictions of its own, those of 2,005 test images and seven classes. Baselines:
  plain loop   dermaexp's metrics by scikit-learn on each resample; 100 resamples of one run, scaled
  plain read   a process that reads the same JSON files and predictions, and does nothing with them
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.bootstrap import LOOP_RESAMPLES, plain_loop
from benchmarks.measure import Table, alternate, compared
from dermaexp.core.console import quiet
from dermaexp.metrics.resampling import RESAMPLES
from dermaexp.metrics.scores import headline_scores
from dermaexp.runs.directory import RunDirectory

RATES = [number / 10_000 for number in range(1, 11)]
BATCH_SIZES = [16, 32, 64, 128, 256]
SEEDS = range(10)
RUNS = len(RATES) * len(BATCH_SIZES) * len(SEEDS)
FIRST, AGAIN = "first", "again, nothing changed"
PLAIN_LOOP, PLAIN_READ = "plain loop (estimated)", "plain read"
READ = """
import json, pathlib, sys
import numpy as np
for folder in pathlib.Path(sys.argv[1]).iterdir():
    [json.loads((folder / name).read_text()) for name in ("run.json", "metrics.json")]
    dict(np.load(folder / "predictions.npz"))
"""


def trained(folder: Path) -> RunDirectory:
    """Train the run that all others are copies of."""
    from dermaexp.launch.command import execute, isolated

    options = ["dataset=synthetic", "model=ffn", "epochs=3", "trainer=cpu"]
    with isolated(), quiet(True):
        execute([*options, "callbacks=no_figures", "report=false", f"hydra.run.dir={folder}"])
    return RunDirectory(folder)


def weak_model(targets: np.ndarray, classes: int, skill: float, seed: int) -> np.ndarray:
    """Return the probabilities (N, K) of a model that is right the more often the more `skill`."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(len(targets), classes)) + skill * np.eye(classes)[targets]
    exponentials = np.exp(logits)
    return (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)


def write_runs(folder: Path, original: RunDirectory) -> None:
    """Write copies of `original` into `folder`, ten seeds of each learning rate and batch size."""
    record: dict[str, Any] = {**original.read_run()}
    metrics: dict[str, Any] = {**original.read_metrics()}
    predictions, history = original.read_predictions(), original.read_history()
    classes = len(metrics["data"]["classes"])
    for number, values in enumerate(itertools.product(RATES, BATCH_SIZES, SEEDS)):
        rate, batch_size, seed = values
        config = record["config"] | {"seed": seed, "batch_size": batch_size}
        config["optimizer"] = config["optimizer"] | {"lr": rate}
        words = [f"optimizer.lr={rate:g}", f"batch_size={batch_size}", f"seed={seed}"]
        run = RunDirectory(folder / ",".join(words))
        skill = 1.9 + 0.004 * (number // len(SEEDS))
        numbers, arrays = dict(metrics), dict(predictions)
        for split in ("val", "test"):
            targets = predictions[f"{split}_targets"]
            probabilities = weak_model(targets, classes, skill, number)
            predicted = probabilities.argmax(axis=1)
            confusion = np.bincount(classes * targets + predicted, minlength=classes**2)
            numbers[split] = metrics[split] | headline_scores(targets, probabilities)
            numbers[split]["confusion_matrix"] = confusion.reshape(classes, classes).tolist()
            arrays[f"{split}_probabilities"] = probabilities
        own = {"config": config, "seed": seed, "overrides": [*record["overrides"], *words]}
        run.write_run(record | own)
        run.write_metrics(numbers)
        run.write_predictions(**arrays)
        run.write_history(history)


def seconds_of(*arguments: str) -> float:
    """Return the seconds of a whole Python process."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def first(runs: Path, output: Path) -> float:
    """Return the seconds of a comparison of runs that nobody has compared before."""
    for run in runs.iterdir():
        (run / "resampled.npz").unlink(missing_ok=True)
    (output / "comparison.json").unlink(missing_ok=True)
    for file in (*output.glob("*.*"), *output.glob("figures/*")):
        file.unlink()
    return again(runs, output)


def again(runs: Path, output: Path) -> float:
    return seconds_of("-m", "dermaexp", "compare", str(runs), "--output", str(output))


def plain(run: RunDirectory) -> float:
    """Return the seconds that a plain loop over all resamples of all runs would take."""
    arrays = run.read_predictions()
    started = time.perf_counter()
    plain_loop(arrays["test_targets"], [arrays["test_probabilities"]], LOOP_RESAMPLES)
    return (time.perf_counter() - started) * RUNS * RESAMPLES / LOOP_RESAMPLES


def measure() -> list[Table]:
    with tempfile.TemporaryDirectory() as folder:
        runs, output = Path(folder) / "runs", Path(folder) / "comparison"
        original = trained(Path(folder) / "original")
        with mock.patch("os.fsync"):  # 2,000 files
            write_runs(runs, original)
        sides = {FIRST: partial(first, runs, output), PLAIN_LOOP: partial(plain, original)}
        tables = [Table(f"{RUNS} runs", compared(alternate(sides, 2, warm_up=False), FIRST))]
        sides = {
            AGAIN: partial(again, runs, output),
            PLAIN_READ: partial(seconds_of, "-c", READ, str(runs)),
        }
        rows = compared(alternate(sides, 3, warm_up=False), PLAIN_READ)
        return [*tables, Table(f"{RUNS} runs that were compared before", rows)]
