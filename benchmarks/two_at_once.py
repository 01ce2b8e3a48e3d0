"""What do two trainings at once cost on the same cores? python -m benchmarks two_at_once

Baseline: OpenMP's default, where a thread without work spins for some milliseconds and keeps the
core from the other training. dermaexp asks for short spins, see dermaexp/launch/command.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.measure import Table, alternate, compared

WAITS = {"OpenMP default": "300000", "dermaexp": "2000"}  # spins before a thread sleeps
OPTIONS = ["dataset=synthetic", "epochs=3", "callbacks=[progress,best_checkpoint]", "trainer=cpu"]


def fit_seconds(model: str, spins: str, trainings: int) -> float:
    """Return the seconds of the slowest of `trainings` started together."""
    command = [sys.executable, "-m", "dermaexp", f"model={model}", *OPTIONS]
    environment = {**os.environ, "GOMP_SPINCOUNT": spins}
    with tempfile.TemporaryDirectory() as folder:
        runs = [Path(folder, str(index)) for index in range(trainings)]
        processes = [
            subprocess.Popen(
                [*command, f"hydra.run.dir={run}"], env=environment, stdout=subprocess.DEVNULL
            )
            for run in runs
        ]
        codes = [process.wait() for process in processes]
        if any(codes):
            raise RuntimeError("a training failed")
        metrics = [json.loads((run / "metrics.json").read_text()) for run in runs]
    return max(numbers["seconds"]["fit"] for numbers in metrics)


def measure() -> list[Table]:
    tables = []
    for model in ("ffn", "cnn"):
        for trainings in (1, 2):
            sides = {
                name: partial(fit_seconds, model, spins, trainings) for name, spins in WAITS.items()
            }
            # One alone differs little, which several rounds show.
            rounds = 4 if trainings == 1 else 1
            seconds = alternate(sides, rounds, warm_up=False)
            title = f"{model}, {trainings} at once: seconds of the slower fit"
            tables.append(Table(title, compared(seconds, "OpenMP default")))
    return tables
