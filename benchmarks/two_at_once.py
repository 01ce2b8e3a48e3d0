"""Two trainings at once on the same cores, as beside a notebook: python benchmarks/two_at_once.py

Baseline: OpenMP's own waiting, in which a thread without work spins for some milliseconds and so
takes the core from the other training. dermaexp asks for short spins, see dermaexp/__main__.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

WAITS = {"OpenMP's own": "300000", "dermaexp": "1000"}  # spins before a thread sleeps
OPTIONS = ["dataset=synthetic", "epochs=3", "callbacks=[progress,best_checkpoint]", "trainer=cpu"]


def fit_seconds(model: str, spins: str, trainings: int, folder: Path) -> float:
    """Seconds of the slowest of so many trainings started together."""
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
    print(f"{'net':4} {'trainings':>9} {'waiting':13} {'s of the fit':>12} {'x own':>6}")
    with tempfile.TemporaryDirectory() as folder:
        for model in ("ffn", "cnn"):
            for trainings in (1, 2):
                own = None
                for name, spins in WAITS.items():
                    seconds = fit_seconds(model, spins, trainings, Path(folder))
                    own = own or seconds
                    print(f"{model:4} {trainings:9} {name:13} {seconds:12.2f} {seconds / own:6.2f}")


if __name__ == "__main__":
    main()
