"""What does a command take from Enter to the prompt? python -m benchmarks start

Whole processes, in turn. The run is an FFN of 10 epochs with all its figures and its page, without
the seconds of its fit, which the epochs' benchmark measures. Baseline: `import pytorch_lightning`,
which a training loop of one's own waits for, too.
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
from dermaexp.inference.verbs import VERBS

BASELINE = "import pytorch_lightning"
RUN = "dermaexp, beyond its fit"
OPTIONS = ["model=ffn", "dataset=synthetic", "epochs=10", "trainer=cpu"]


def seconds_of(*arguments: str) -> float:
    """Return the seconds of a whole Python process."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def run_beyond_fit() -> float:
    """Return the seconds of a run's command without those of its fit."""
    with tempfile.TemporaryDirectory() as folder:
        place = f"hydra.run.dir={folder}/run"
        seconds = seconds_of("-m", "dermaexp", *OPTIONS, place)
        fit = json.loads((Path(folder) / "run" / "metrics.json").read_text())["seconds"]["fit"]
    return seconds - fit


def a_run() -> Table:
    """Return how long a run takes beyond its fit, beside imports alone."""
    imports = {words: partial(seconds_of, "-c", words) for words in (BASELINE, "import torch")}
    seconds = alternate(imports | {RUN: run_beyond_fit}, rounds=3, warm_up=False)
    pairs = zip(seconds[RUN].values, seconds[BASELINE].values, strict=True)
    more = Spread([own - baseline for own, baseline in pairs])
    note = f"seconds more than {BASELINE} and the fit together: {more}"
    return Table("a run of an FFN with all its figures", compared(seconds, BASELINE), note=note)


def answers() -> Table:
    """Return how long commands take that run nothing."""
    asked = [["--help"], ["--cfg", "job"], *([verb, "--help"] for verb in VERBS)]
    sides = {" ".join(words): partial(seconds_of, "-m", "dermaexp", *words) for words in asked}
    rows = alternate(sides, rounds=3, warm_up=False).items()
    return Table("answers", [{"python -m dermaexp": name, "s": value} for name, value in rows])


def measure() -> list[Table]:
    return [a_run(), answers()]
