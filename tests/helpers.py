"""What several test files use: runs written by hand, pages read back, the process killed."""

from __future__ import annotations

import csv
import importlib
import json
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from dermaexp.compare import output
from dermaexp.compare.__main__ import main as compare_main
from dermaexp.compare.comparison import Comparison
from dermaexp.core import files
from dermaexp.metrics import classification
from dermaexp.report.style import write_figure
from dermaexp.runs import directory
from dermaexp.runs.directory import HISTORY_COLUMNS, RunDirectory
from dermaexp.training import evaluate
from dermaexp.training.callbacks import checkpoints

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "dermamnist_rebuilt_28.npz"


CLASSES = 3
FIGURES = (
    "montage",
    "learning_curves",
    "confusion_matrix",
    "per_class_accuracy",
    "roc_curves",
    "precision_recall_curves",
    "reliability",
    "misclassified",
)


# Figures take most of a small run's time: tests that do not look at them leave them out.
NO_FIGURES = [*(f"callbacks.{name}=null" for name in FIGURES), "report=false"]


def exit_code(monkeypatch: pytest.MonkeyPatch, main: Callable[[], None], *arguments: object) -> int:
    """Of the command whose `main` it is, run in this process."""
    monkeypatch.setattr(sys, "argv", ["dermaexp", *map(str, arguments)])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def random_predictions(
    samples: int, classes: int, seed: int, digits: int | None = None, scale: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Targets, and probabilities that know a little of them; `digits` rounds scores into ties.

    Probabilities are float32, as a net's: at a large `scale` many of them are exactly 0 or 1.
    """
    generator = np.random.default_rng(seed)
    targets = generator.choice(classes, samples, p=generator.dirichlet(np.full(classes, 5.0)))
    logits = generator.normal(size=(samples, classes)) + np.eye(classes)[targets]
    if digits is not None:
        logits = logits.round(digits)
    exponentials = np.exp((scale * logits).astype(np.float32))
    return targets, (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)


LESIONS = ("actinic keratoses and intraepithelial carcinoma", "melanoma", "melanocytic nevi")


CONFUSION = np.array([[6, 2, 2], [1, 30, 9], [0, 5, 145]])


def texts(figure: Figure) -> list[str]:
    """Every text of the figure, folded lines joined."""
    figure.draw_without_rendering()
    found = [text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_text"))]
    return [" ".join(text.split()) for text in found if text.strip()]


def history(epochs: int, best: int) -> list[dict[str, float]]:
    return [
        {
            "epoch": epoch,
            "train_loss": 1 / epoch,
            "train_accuracy": epoch / 10,
            "val_loss": 2 / epoch,
            "val_accuracy": epoch / 20,
            "val_macro_auroc": 0.9 if epoch == best else 0.5,
        }
        for epoch in range(1, epochs + 1)
    ]


RUN_CLASSES = ("a", "b", "c")


RUN_TARGETS = np.repeat([0, 1, 2], [20, 50, 30])


OTHER_DATA = {"name": "Other", "fingerprint": "2e", "test_fingerprint": "2e5", "synthetic": False}


def write_run(
    folder: Path,
    model: str = "ffn",
    seed: int = 0,
    val: float | None = 0.8,
    wrong: int = 40,
    settings: dict | None = None,
    **record: object,
) -> RunDirectory:
    """A run that gets the first `wrong` of 100 test images wrong; `settings` change its config."""
    directory = RunDirectory(folder)
    config = {"seed": seed, "epochs": 3, "model": {"_target_": model}, "optimizer": {"lr": 0.001}}
    config |= {"trainer": {"max_epochs": (settings or {}).get("epochs", 3)}, **(settings or {})}
    run = {
        "status": "finished",
        "finished": "2026-01-01T00:00:00+00:00",
        "name": model,
        "overrides": [],
        "choices": {"model": model, "optimizer": "adam", "trainer": "cpu"},
        "config": config,
        "seed": seed,
        "data": OTHER_DATA | {"name": "Data", "fingerprint": "1f", "test_fingerprint": "1f5"},
        "code_digest": "0" * 64,
        "git_commit": "a" * 40,
        "versions": {"torch": "2.4"},
        "device": {"type": "cpu"},
        **record,
    }
    directory.write_run(run)
    if run["status"] == "finished":
        predicted = np.where(np.arange(100) < wrong, (RUN_TARGETS + 1) % 3, RUN_TARGETS)
        probabilities = (0.1 + 0.7 * np.eye(3)[predicted]).astype(np.float32)
        numbers = classification.evaluate(RUN_TARGETS, probabilities, np.array([1]), RUN_CLASSES)
        directory.write_predictions(test_probabilities=probabilities, test_targets=RUN_TARGETS)
        directory.write_metrics(
            {
                "data": {"classes": RUN_CLASSES, "samples": {"test": 100}},
                "val": numbers | {"macro_auroc": val},
                "test": numbers,
                "best_epoch": 1 + seed,
                "seconds": {"total": 2.0},
            }
        )
    return directory


def rows(folder: Path, name: str = "leaderboard") -> list[dict[str, str]]:
    return list(csv.DictReader((folder / f"{name}.csv").open()))


def compare_command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    return exit_code(monkeypatch, compare_main, *arguments)


def notes(comparison: Comparison) -> list[str]:
    return [note for table in comparison.tables for note in table.notes]


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


def comparison_page(folder: Path) -> Page:
    output.compare(folder)
    return parsed(folder)


def parsed(folder: Path) -> Page:
    page = Page(folder / "comparison.html")
    page.tables = [table for table in page.tables if table]  # the page's script fills others
    return page


def confusions(folder: Path) -> dict:
    text = (folder / "comparison.html").read_text()
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', text)[1])


PAGE_CLASSES = ["nevus", "melanoma", "<script>alert(1)</script> & $x^$"]


PAGE_SAMPLES = (60, 30, 0)  # test images of each class


RECORD = {
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
    "seed": 7,
    "config": {"seed": 7, "dataset": {"path": "a ${b}"}},
    "config_digest": "d19e57",
    "data": {
        "name": "Small",
        "fingerprint": "f19e",
        "test_fingerprint": "7e57",
        "synthetic": False,
    },
    "device": {"type": "cpu", "name": "cpu", "threads": 2},
}


def make_run(folder: Path, *, calibrate: bool = False, **record: Any) -> RunDirectory:
    """A finished run as `dermaexp` leaves it, with other values in run.json where given."""
    directory = RunDirectory(folder)
    record = RECORD | record
    directory.write_run(record)
    generator = np.random.default_rng(0)
    targets = np.repeat(np.arange(3), PAGE_SAMPLES)
    predictions = {
        split: (targets, generator.dirichlet((3, 1, 1), len(targets)).astype(np.float32))
        for split in ("test", "val")
    }
    numbers = evaluate.evaluate(
        predictions, np.zeros(5, np.int64), PAGE_CLASSES, calibrate=calibrate
    )
    samples = {"train": 1200, "val": len(targets), "test": len(targets)}
    directory.write_metrics(
        {
            "data": {**record["data"], "classes": PAGE_CLASSES, "samples": samples},
            "model": {"name": "cnn", "parameters": 12345},
            **numbers,
            "tested_with": "best",
            "best_epoch": 2,
            "epochs": 11,
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


class Page(HTMLParser):
    """What a browser would make of the page: its tables' rows, addresses, texts and tags."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.addresses: dict[str, list[str]] = {"src": [], "href": []}
        self.texts: list[str] = []
        self.tags: list[str] = []
        self.in_cell = False
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attributes:
            if name in self.addresses:
                self.addresses[name].append(value or "")
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("th", "td"):
            self.in_cell = False

    def handle_data(self, text: str) -> None:
        self.texts.append(text)
        if self.in_cell:
            self.tables[-1][-1][-1] += text.strip()

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


class DropoutNet(nn.Module):
    """Draws random numbers at every step: an interruption must not change which."""

    def __init__(self, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Dropout(0.5), nn.Linear(torch.Size(image_shape).numel(), classes)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


class Killed(BaseException):
    """As from SIGKILL: nothing is written any more."""


def kill_at_write(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `number` files be written and no more; the next one is left half-written beside."""
    write_bytes = files.write_bytes
    left = [number]
    for name in ("compare.output", "launch.search", "report.page"):
        importlib.import_module(f"dermaexp.{name}")  # now, with the function as it is

    def write(path: Path, content: bytes) -> None:
        if left[0] == 0:
            path.with_name(f".{path.name}.1.tmp").write_bytes(content[: len(content) // 2])
            raise Killed
        left[0] -= 1
        write_bytes(path, content)

    for module in (files, directory, checkpoints):
        monkeypatch.setattr(module, "write_bytes", write)
