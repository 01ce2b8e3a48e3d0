"""Time a sweep of eight jobs, two at once against one by one: python benchmarks/sweep.py

Baseline: Hydra's own launcher, which runs the jobs one by one in one process, each on all cores.
Also prints what a job costs beyond its fit: nine jobs minus one, which leaves out Python's start.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OPTIONS = ["dataset=synthetic", "epochs=3", "trainer=cpu"]
LAUNCHERS = {
    "one by one": [],
    "joblib, 2 at once": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
}


def sweep_seconds(model: str, jobs: int, extra: list[str], folder: Path) -> tuple[float, float]:
    """Return the seconds of the whole command, and of all its fits together."""
    sweep = Path(tempfile.mkdtemp(dir=folder))
    seeds = f"seed={','.join(map(str, range(jobs)))}"
    command = [sys.executable, "-m", "dermaexp", "-m", f"model={model}", seeds, *OPTIONS, *extra]
    started = time.perf_counter()
    result = subprocess.run([*command, f"hydra.sweep.dir={sweep}"], stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    if result.returncode:
        sys.exit("a sweep failed")
    metrics = [json.loads(file.read_text()) for file in sweep.glob("*/metrics.json")]
    return seconds, sum(one["seconds"]["fit"] for one in metrics)


def main() -> None:
    print(f"{'model':5} {'8 jobs':20} {'s':>6} {'x baseline':>10}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for model in ("ffn", "cnn"):
            baseline = None
            for launcher, overrides in LAUNCHERS.items():
                seconds, _ = sweep_seconds(model, 8, overrides, folder)
                baseline = baseline or seconds
                print(f"{model:5} {launcher:20} {seconds:6.1f} {seconds / baseline:10.2f}")
        print(f"\n{'model':5} {'callbacks':11} {'s per job':>10} {'its fit':>8} {'beyond it':>10}")
        for model in ("ffn", "cnn"):
            for callbacks in ("default", "no_figures"):
                (one, fit_of_one), (nine, fit_of_nine) = (
                    sweep_seconds(model, jobs, [f"callbacks={callbacks}"], folder)
                    for jobs in (1, 9)
                )
                job, fit = (nine - one) / 8, (fit_of_nine - fit_of_one) / 8
                print(f"{model:5} {callbacks:11} {job:10.2f} {fit:8.2f} {job - fit:10.2f}")


if __name__ == "__main__":
    main()
