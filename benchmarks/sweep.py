"""What does a job of a sweep cost beyond its fit, and two jobs at once? python -m benchmarks sweep

Eight jobs of three epochs, one by one by Hydra's own launcher, in one process and each on all
cores, against two at once by joblib, including the start of its workers. A job's cost beyond its
fit is that of nine jobs minus one, which leaves out Python's start.
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

OPTIONS = ["dataset=synthetic", "epochs=3", "trainer=cpu"]
BASELINE = "one by one"
LAUNCHERS = {
    BASELINE: [],
    "joblib, 2 at once": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
}
JOBS = 8
MODELS = ("ffn", "cnn")


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


def job(callbacks: str) -> dict[str, Spread | str]:
    """Return the seconds of one more job of a sweep of FFNs, of its fit and of all else."""
    one, more = (swept("ffn", jobs, f"callbacks={callbacks}") for jobs in (1, 1 + JOBS))
    whole, fit = ((after - before) / JOBS for before, after in zip(one, more, strict=True))
    parts = {"s a job": whole, "its fit": fit, "beyond it": whole - fit}
    return {"callbacks": callbacks} | {name: Spread([value]) for name, value in parts.items()}


def measure() -> list[Table]:
    jobs = [job(callbacks) for callbacks in ("no_figures", "default")]
    tables = [Table("a job of an FFN, three epochs", jobs)]
    for model in MODELS:
        sides = {
            name: partial(lambda model, words: swept(model, JOBS, *words)[0], model, words)
            for name, words in LAUNCHERS.items()
        }
        seconds = alternate(sides, rounds=1, warm_up=False)
        tables.append(Table(f"{JOBS} jobs of model={model}", compared(seconds, BASELINE)))
    return tables
