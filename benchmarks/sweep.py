"""What does a job of a sweep cost beyond its fit, and two jobs at once? python -m benchmarks sweep

Jobs one by one by Hydra's own launcher, in one process and each on all cores, against two at once
by joblib, including the start of its workers. A job's cost beyond its fit is that of nine jobs
minus one, which leaves out Python's start.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.measure import Spread, Table, alternate, compared

OPTIONS = ["dataset=synthetic", "trainer=cpu"]
BASELINE = "one by one"
LAUNCHERS = {
    BASELINE: [],
    "joblib, 2 at once": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
}
SWEEPS = (("cnn", 4, 4), ("ffn", 8, 10))  # model, jobs and epochs
MORE = 8  # jobs, which leave out Python's start
ROUNDS = 3


def swept(model: str, jobs: int, *extra: str) -> tuple[float, float]:
    """Return the seconds of a sweep's whole command, and of all its fits together."""
    with tempfile.TemporaryDirectory() as folder:
        seeds = f"seed={','.join(map(str, range(jobs)))}"
        words = ["-m", f"model={model}", seeds, *OPTIONS, *extra, f"hydra.sweep.dir={folder}/sweep"]
        started = time.perf_counter()
        command = [sys.executable, "-m", "dermaexp", *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
        files = Path(folder).glob("sweep/*/metrics.json")
        fits = [json.loads(file.read_text())["seconds"]["fit"] for file in files]
    return seconds, sum(fits)


def seconds_of(model: str, jobs: int, words: list[str]) -> float:
    return swept(model, jobs, *words)[0]


def job(callbacks: str) -> dict[str, Spread | str]:
    """Return the seconds of one more job of a sweep of FFNs, of its fit and of all else."""
    words = ("epochs=3", f"callbacks={callbacks}")
    parts: dict[str, list[float]] = {"s a job": [], "its fit": [], "beyond it": []}
    for _ in range(ROUNDS):
        one, more = (swept("ffn", jobs, *words) for jobs in (1, 1 + MORE))
        whole, fit = ((after - before) / MORE for before, after in zip(one, more, strict=True))
        for values, value in zip(parts.values(), (whole, fit, whole - fit), strict=True):
            values.append(value)
    return {"callbacks": callbacks} | {name: Spread(values) for name, values in parts.items()}


def measure() -> list[Table]:
    jobs = [job(callbacks) for callbacks in ("no_figures", "default")]
    tables = [Table("a job of an FFN, three epochs", jobs)]
    for model, count, epochs in SWEEPS:
        sides = {
            name: partial(seconds_of, model, count, [f"epochs={epochs}", *words])
            for name, words in LAUNCHERS.items()
        }
        seconds = alternate(sides, ROUNDS, warm_up=False)
        title = f"{count} jobs of model={model}, {epochs} epochs, with all figures"
        tables.append(Table(title, compared(seconds, BASELINE)))
    return tables
