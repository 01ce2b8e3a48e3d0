"""Run directories written by hand, in no time: no training, no data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dermaexp.metrics import classification
from dermaexp.metrics.operating_points import operating_points
from dermaexp.report.style import write_figure
from dermaexp.runs.directory import HISTORY_COLUMNS, RunDirectory
from dermaexp.training.run_metrics import run_metrics

RUN_CLASSES = ("a", "b", "c")
RUN_TARGETS = np.repeat([0, 1, 2], [20, 50, 30])
OTHER_DATA = {
    "name": "Other",
    "fingerprint": "2e",
    "test_fingerprint": "2e5",
    "synthetic": False,
    "split": {"kind": "official"},
}


def write_run(
    folder: Path,
    model: str = "ffn",
    seed: int = 0,
    val: float | None = 0.8,
    wrong: int = 40,
    config: dict | None = None,
    **record: object,
) -> RunDirectory:
    """Write a run with the first `wrong` of 100 test images wrong, and `config` in its own."""
    directory = RunDirectory(folder)
    config = {
        "seed": seed,
        "epochs": 3,
        "model": {"_target_": model},
        "optimizer": {"lr": 0.001},
        "trainer": {"max_epochs": (config or {}).get("epochs", 3)},
        **(config or {}),
    }
    run = {
        "status": "finished",
        "started": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:00:00+00:00",
        "command": "",
        "platform": "Linux",
        "name": model,
        "overrides": [],
        "choices": {"model": model, "optimizer": "adam", "trainer": "cpu"},
        "config": config,
        "config_digest": "d19e57",
        "own_code": {},
        "seed": seed,
        "data": OTHER_DATA | {"name": "Data", "fingerprint": "1f", "test_fingerprint": "1f5"},
        "code_digest": "0" * 64,
        "git_commit": "a" * 40,
        "versions": {"torch": "2.4"},
        "device": {"type": "cpu", "name": "cpu"},
        **record,
    }
    directory.write_run(run)
    if run["status"] == "finished":
        predicted = np.where(np.arange(100) < wrong, (RUN_TARGETS + 1) % 3, RUN_TARGETS)
        probabilities = (0.1 + 0.7 * np.eye(3)[predicted]).astype(np.float32)
        write_answers(directory, RUN_TARGETS, probabilities, seed, macro_auroc=val)
    return directory


def write_answers(
    directory: RunDirectory,
    targets: np.ndarray,
    probabilities: np.ndarray,
    epoch: int = 0,
    **val: float | None,
) -> None:
    """Predictions and final numbers of a run; `val` are numbers of val that differ from test's."""
    pair = targets, probabilities
    test = classification.split_metrics(*pair, np.array([1]), RUN_CLASSES)
    directory.write_predictions(test_probabilities=probabilities, test_targets=targets)
    directory.write_metrics(
        {
            "data": {
                **directory.read_run()["data"],
                "size": 28,
                "channels": 1,
                "classes": RUN_CLASSES,
                "samples": dict.fromkeys(("train", "val", "test"), len(targets)),
            },
            "model": {"name": "cnn", "parameters": 1},
            "train": {"loss": 1.0, "accuracy": 0.5},
            "val": {**test, "macro_auroc": test["macro_auroc"] - 0.01, **val},
            "test": test,
            "majority_class": RUN_CLASSES[1],
            "operating_points": operating_points(pair, pair, RUN_CLASSES),
            "tested_with": "best",
            "best_epoch": 1 + epoch,
            "epochs": 3,
            "planned_epochs": 3,
            "ended_by": None,
            "seconds": {"data": 0.5, "fit": 1.0, "test": 0.5, "total": 2.0},
        }
    )


SWEEP_COMMAND = "python -m dermaexp -m model=cnn,ffn seed=0,1"


def make_sweep(folder: Path) -> Path:
    """Two groups of two seeds, one of one, and a run that failed; the CNNs kept a history."""
    for seed, (val, wrong) in enumerate([(0.9, 20), (0.8, 30)]):
        run = write_run(folder / f"cnn{seed}", "cnn", seed, val, wrong, command=SWEEP_COMMAND)
        history = [dict.fromkeys(HISTORY_COLUMNS, 0.5) | {"epoch": epoch} for epoch in (1, 2)]
        run.write_history(history)
    for seed, wrong in enumerate([40, 50]):
        write_run(folder / f"ffn{seed}", "ffn", seed, 0.7, wrong, command=SWEEP_COMMAND)
    write_run(folder / "mlp", "mlp", 0, None, 60, command="python -m dermaexp model=mlp")
    write_run(folder / "bad", "cnn", 2, status="failed", error="the <disk> is full")
    return folder


PAGE_CLASSES = ["nevus", "melanoma", "<script>alert(1)</script> & $x^$"]
PAGE_SAMPLES = (60, 30, 0)  # test images of each class
RECORD = {
    "schema": 1,
    "status": "finished",
    "started": "2026-01-01T12:00:00+00:00",
    "finished": "2026-01-01T12:01:00+00:00",
    "command": "python -m dermaexp model=cnn 'name=\"my net\"'",
    "git_commit": None,
    "code_digest": "c0de",
    "versions": {"python": "3.11.7", "torch": "2.4.0"},
    "platform": "Linux",
    "name": "my net",
    "overrides": ["model=cnn", 'name="my net"'],
    "choices": {"model": "cnn"},
    "own_code": {},
    "seed": 7,
    "config": {"seed": 7, "dataset": {"path": "a ${b}"}},
    "config_digest": "d19e57",
    "data": {
        "name": "Small",
        "fingerprint": "f19e",
        "test_fingerprint": "7e57",
        "synthetic": False,
        "split": {"kind": "official"},
    },
    "device": {"type": "cpu", "name": "cpu", "threads": 2},
    "input_size": 32,
}


def make_run(folder: Path, *, calibrate: bool = False, **record: Any) -> RunDirectory:
    """A finished run as `dermaexp` leaves it, with other values in run.json where given."""
    directory = RunDirectory(folder)
    record = RECORD | record
    directory.write_run(record)
    (folder / ".hydra").mkdir(exist_ok=True)
    (folder / ".hydra" / "config.yaml").write_text("dataset: {}\ntrainer: {}\ncallbacks: {}\n")
    generator = np.random.default_rng(0)
    targets = np.repeat(np.arange(3), PAGE_SAMPLES)
    predictions = {
        split: (targets, generator.dirichlet((3, 1, 1), len(targets)).astype(np.float32))
        for split in ("test", "val")
    }
    numbers = run_metrics(predictions, np.zeros(5, np.int64), PAGE_CLASSES, calibrate=calibrate)
    samples = {"train": 1200, "val": len(targets), "test": len(targets)}
    directory.write_metrics(
        {
            "data": {
                **record["data"],
                "size": 28,
                "channels": 1,
                "classes": PAGE_CLASSES,
                "samples": samples,
            },
            "model": {"name": "cnn", "parameters": 12345},
            "train": {"loss": 1.0, "accuracy": 0.5},
            **numbers,
            "tested_with": "best",
            "best_epoch": 2,
            "epochs": 11,
            "planned_epochs": 11,
            "ended_by": None,
            "seconds": {"data": 0.1, "fit": 1.5, "test": 0.2, "total": 2.0},
        }
    )
    epochs = range(1, 12)
    rows = [dict.fromkeys(HISTORY_COLUMNS, epoch / 100) | {"epoch": epoch} for epoch in epochs]
    rows[4]["val_macro_auroc"] = float("nan")
    directory.write_history(rows)
    directory.write_predictions(
        **{f"{split}_probabilities": pair[1] for split, pair in predictions.items()},
        **{f"{split}_targets": targets for split in predictions},
    )
    for name in ("montage", "a_new_figure", "learning_curves"):
        write_figure(directory.path, name, Figure(figsize=(2, 1)))
    return directory
