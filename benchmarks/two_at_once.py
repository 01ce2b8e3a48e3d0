"""Time two trainings at once on the same cores: python benchmarks/two_at_once.py

Baseline: OpenMP's default, where a thread without work spins for some milliseconds and keeps the
core from the other training. dermaexp asks for short spins, see dermaexp/__main__.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

WAITS = {"OpenMP default": "300000", "dermaexp": "1000"}  # spins before a thread sleeps
OPTIONS = ["dataset=synthetic", "epochs=3", "callbacks=[progress,best_checkpoint]", "trainer=cpu"]


def fit_seconds(model: str, spins: str, trainings: int, folder: Path) -> float:
    """Return the seconds of the slowest of `trainings` started together."""
    runs = [folder / f"{model}-{spins}-{trainings}-{index}" for index in range(trainings)]
    command = [sys.executable, "-m", "dermaexp", f"model={model}", *OPTIONS]
    environment = {**os.environ, "GOMP_SPINCOUNT": spins}
    processes = [
        subprocess.Popen(
            [*command, f"hydra.run.dir={run}"], env=environment, stdout=subprocess.DEVNULL
        )
        for run in runs
    ]
    if any(process.wait() for process in processes):
        sys.exit("a training failed")
    return max(json.loads((run / "metrics.json").read_text())["seconds"]["fit"] for run in runs)


def main() -> None:
    print(f"{'model':5} {'trainings':>9} {'waiting':14} {'s of the fit':>12} {'x default':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for model in ("ffn", "cnn"):
            for trainings in (1, 2):
                default = None
                for name, spins in WAITS.items():
                    seconds = fit_seconds(model, spins, trainings, Path(folder))
                    default = default or seconds
                    ratio = seconds / default
                    print(f"{model:5} {trainings:9} {name:14} {seconds:12.2f} {ratio:9.2f}")


if __name__ == "__main__":
    main()
