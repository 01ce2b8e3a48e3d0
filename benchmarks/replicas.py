"""What do eight seeds cost, trained at once, against eight jobs one after the other?

All sides run in this process, on the GPU if there is one, with the same seeds and all that a run
leaves but pictures; the comparison at the end of the sweep, the same on all sides, is left out.
  one after the other   eight jobs
  looped                replicas whose steps follow each other, as with convolutions on a CPU
  stacked               replicas that take one step together, as FFNs do, and all on a GPU
  one                   one of the jobs alone
"""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Sequence
from unittest import mock

from benchmarks.measure import Table, alternate, compared
from dermaexp.core.console import quiet
from dermaexp.launch.command import execute, isolated
from dermaexp.training import replicas

JOBS = 8
FEWER = ("+trainer.limit_train_batches=8", "+trainer.limit_val_batches=2")
RECIPES = {  # with 110 batches an epoch; resnet11 with 8, as it takes so long
    "ffn": ("epochs=10",),
    "cnn": ("epochs=1",),
    "resnet11": ("epochs=1", "dataset.grayscale=false", *FEWER, "+trainer.limit_test_batches=2"),
}
SIDES = {  # their seeds, how many at once, and whether these are stacked
    "one after the other": (JOBS, 1, False),
    "looped": (JOBS, JOBS, False),
    "stacked": (JOBS, JOBS, True),
    "one": (1, 1, False),
}


def sweep_seconds(
    model: str, recipe: Sequence[str], jobs: int, at_once: int, is_stacked: bool
) -> float:
    """Return the seconds of a sweep over seeds without its comparison."""
    seeds = f"seed={','.join(map(str, range(jobs)))}"
    options = ("dataset=synthetic", "callbacks=no_figures", seeds, f"sweep.replicas={at_once}")
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch("dermaexp.compare.output.compare", return_value=0),
        mock.patch.object(replicas, "_are_stacked", return_value=is_stacked),
        isolated(),
        quiet(True),
    ):
        started = time.perf_counter()
        execute(["-m", f"model={model}", *options, *recipe, f"hydra.sweep.dir={folder}"])
        return time.perf_counter() - started


def measure() -> list[Table]:
    sweep_seconds("ffn", ("epochs=1", *FEWER), *SIDES["looped"])  # imports all
    tables = []
    for model, recipe in RECIPES.items():
        sides = {
            side: functools.partial(sweep_seconds, model, recipe, *options)
            for side, options in SIDES.items()
        }
        spreads = alternate(sides, rounds=3, warm_up=False)
        tables.append(Table(f"{JOBS} jobs of {model}", compared(spreads, next(iter(SIDES)))))
    return tables
