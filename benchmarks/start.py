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
OPTIONS = ["model=ffn", "dataset=synthetic", "epochs=10", "trainer=cpu"]


def seconds_of(*arguments: str) -> float:
    """Return the seconds of a whole Python process."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def run_beyond_fit(*options: str) -> float:
    """Return the seconds of a run's command without those of its fit."""
    with tempfile.TemporaryDirectory() as folder:
        place = f"hydra.run.dir={folder}/run"
        seconds = seconds_of("-m", "dermaexp", *OPTIONS, *options, place)
        fit = json.loads((Path(folder) / "run" / "metrics.json").read_text())["seconds"]["fit"]
    return seconds - fit


def measure() -> list[Table]:
    runs = alternate(
        {
            "import torch": partial(seconds_of, "-c", "import torch"),
            BASELINE: partial(seconds_of, "-c", BASELINE),
            "run without figures, beyond its fit": partial(
                run_beyond_fit, "callbacks=no_figures", "report=false"
            ),
            "run, beyond its fit": run_beyond_fit,
        },
        rounds=3,
        warm_up=False,
    )
    asked = [["--help"], ["--cfg", "job"], *([verb, "--help"] for verb in VERBS)]
    answers = alternate(
        {" ".join(words): partial(seconds_of, "-m", "dermaexp", *words) for words in asked},
        rounds=3,
        warm_up=False,
    )
    beyond = Spread(
        [
            own - baseline
            for own, baseline in zip(
                runs["run, beyond its fit"].values, runs[BASELINE].values, strict=True
            )
        ]
    )
    return [
        Table(
            "an FFN of 10 epochs",
            compared(runs, BASELINE),
            note=f"a run takes {beyond} s more than {BASELINE} and its fit together",
        ),
        Table(
            "answers without a run",
            [{"python -m dermaexp": name, "s": spread} for name, spread in answers.items()],
        ),
    ]
