"""A process that is killed while it writes, and a model that shows whether a resume is exact."""

from __future__ import annotations

import csv
import importlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

from dermaexp.core import files
from dermaexp.runs import directory
from dermaexp.runs.directory import RunDirectory
from dermaexp.training.callbacks import checkpoints


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
    for name in ("compare.output", "launch.search.run", "report.page"):
        importlib.import_module(f"dermaexp.{name}")  # now, with the function as it is

    def write(path: Path, content: bytes, **options: bool) -> None:
        if left[0] == 0:
            path.with_name(f".{path.name}.1.tmp").write_bytes(content[: len(content) // 2])
            raise Killed
        left[0] -= 1
        write_bytes(path, content, **options)

    for module in (files, directory, checkpoints):
        monkeypatch.setattr(module, "write_bytes", write)


def numbers(
    run: Path, checkpoints: Sequence[str] = ("last",)
) -> tuple[dict, list[list[str]], dict[str, bytes]]:
    """All that must be equal in two runs, weights of `checkpoints` too: no seconds, no dates."""
    metrics = json.loads((run / "metrics.json").read_text())
    del metrics["seconds"]
    rows = [row[:-1] for row in csv.reader((run / "history.csv").open())]
    stored = {name: a.tobytes() for name, a in RunDirectory(run).read_predictions().items()}
    for name in checkpoints:
        file = run / "checkpoints" / f"{name}.ckpt"
        weights = torch.load(file, weights_only=True)["state_dict"]
        stored |= {f"{name}.{key}": weight.numpy().tobytes() for key, weight in weights.items()}
    return metrics, rows, stored
