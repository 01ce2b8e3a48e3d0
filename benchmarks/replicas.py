"""What do eight seeds cost, trained at once, against eight jobs one after the other?

Both sides run in this process, with the same seeds and all that a run leaves but pictures; the
comparison at the end of the sweep, the same on both sides, is left out.
"""

from __future__ import annotations

import functools
import tempfile
import time
from unittest import mock

from benchmarks.measure import Table, alternate, compared
from dermaexp.core.console import quiet
from dermaexp.launch.command import execute, isolated

JOBS = 8
FEWER = ("+trainer.limit_train_batches=8", "+trainer.limit_val_batches=2")
RECIPES = {  # with 110 batches an epoch; resnet11 with 8, as it takes so long
    "ffn": ("epochs=10",),
    "cnn": ("epochs=1",),
    "resnet11": ("epochs=1", "dataset.grayscale=false", *FEWER, "+trainer.limit_test_batches=2"),
}
SIDES = {"one after the other": (), "at once": (f"sweep.replicas={JOBS}",)}


def sweep_seconds(model: str, *overrides: str) -> float:
    """Return the seconds of a sweep of eight seeds without its comparison."""
    seeds = f"seed={','.join(map(str, range(JOBS)))}"
    options = ("dataset=synthetic", "trainer=cpu", "callbacks=no_figures", seeds)
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch("dermaexp.compare.output.compare", return_value=0),
        isolated(),
        quiet(True),
    ):
        started = time.perf_counter()
        execute(["-m", f"model={model}", *options, *overrides, f"hydra.sweep.dir={folder}"])
        return time.perf_counter() - started


def measure() -> list[Table]:
    sweep_seconds("ffn", "epochs=1", *FEWER)  # imports all
    tables = []
    for model, recipe in RECIPES.items():
        sides = {
            side: functools.partial(sweep_seconds, model, *recipe, *overrides)
            for side, overrides in SIDES.items()
        }
        spreads = alternate(sides, rounds=2, warm_up=False)
        tables.append(Table(f"{JOBS} jobs of {model}", compared(spreads, next(iter(SIDES)))))
    return tables
