"""A sweep of eight jobs, two at once against one after the other: python benchmarks/sweep.py

Baseline: Hydra's own launcher, one job after the other in one process, with all cores for each.
Also what a job costs beyond its fit: of nine jobs less one, so that Python's start does not count.
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
    "one after the other": [],
    "joblib, 2 at once": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
}


def sweep_seconds(model: str, jobs: int, extra: list[str], folder: Path) -> tuple[float, float]:
    """Seconds of the whole command, and of all its fits together."""
    sweep = Path(tempfile.mkdtemp(dir=folder))
    seeds = f"seed={','.join(map(str, range(jobs)))}"
    command = [sys.executable, "-m", "dermaexp", "-m", f"model={model}", seeds, *OPTIONS, *extra]
    started = time.perf_counter()
    answer = subprocess.run([*command, f"hydra.sweep.dir={sweep}"], stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    if answer.returncode:
        sys.exit("a sweep failed")
    results = [json.loads(file.read_text()) for file in sweep.glob("*/metrics.json")]
    return seconds, sum(result["seconds"]["fit"] for result in results)


def main() -> None:
    print(f"{'net':4} {'8 jobs':20} {'s':>6} {'x baseline':>10}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for model in ("ffn", "cnn"):
            baseline = None
            for launcher, overrides in LAUNCHERS.items():
                seconds, _ = sweep_seconds(model, 8, overrides, folder)
                baseline = baseline or seconds
                print(f"{model:4} {launcher:20} {seconds:6.1f} {seconds / baseline:10.2f}")
        print(f"\n{'net':4} {'callbacks':11} {'s of a job':>10} {'its fit':>8} {'beyond it':>10}")
        for model in ("ffn", "cnn"):
            for callbacks in ("default", "no_figures"):
                (one, fit_of_one), (nine, fit_of_nine) = (
                    sweep_seconds(model, jobs, [f"callbacks={callbacks}"], folder)
                    for jobs in (1, 9)
                )
                job, fit = (nine - one) / 8, (fit_of_nine - fit_of_one) / 8
                print(f"{model:4} {callbacks:11} {job:10.2f} {fit:8.2f} {job - fit:10.2f}")


if __name__ == "__main__":
    main()
