"""What models learn: on synthetic lesions, as hard as real ones, and on the real data.

Each training is the default one but for its epochs: batch 64, Adam 1e-3. Half a minute in all.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import NO_FIGURES

pytestmark = pytest.mark.slow

MAJORITY = 1341 / 2005


def test_synthetic_lesions_are_as_hard_as_real_ones(
    cli: Callable[..., int], tmp_path: Path
) -> None:
    """FFN near the majority baseline, CNN above it, colour above gray, none near perfect."""

    def scores(model: str, grayscale: bool) -> tuple[float, float]:
        folder = f"{model}-{grayscale}"
        options = (f"model={model}", "dataset=synthetic", f"dataset.grayscale={grayscale}")
        options = (*options, "epochs=3")
        assert cli(*options, f"hydra.run.dir={folder}", *NO_FIGURES) == 0
        numbers = json.loads((tmp_path / folder / "metrics.json").read_text())
        assert numbers["test"]["majority_accuracy"] == MAJORITY
        return numbers["test"]["accuracy"], numbers["test"]["macro_auroc"]

    ffn, cnn, colour = scores("ffn", True), scores("cnn", True), scores("cnn", False)
    assert 0.66 <= ffn[0] <= 0.72
    assert 0.69 <= cnn[0] <= 0.78
    assert ffn < cnn < colour
    assert ffn[1] + 0.05 < cnn[1] < colour[1] - 0.03 < 0.9


def test_the_cnn_on_the_rebuilt_dermamnist(
    real_data: Path, cli: Callable[..., int], tmp_path: Path
) -> None:
    options = ("dataset=npz", f"dataset.path={real_data}", "dataset.classes=dermamnist")
    options = (*options, "dataset.grayscale=false", "epochs=5")
    assert cli("model=cnn", *options, "hydra.run.dir=run", *NO_FIGURES) == 0
    numbers = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert numbers["data"]["samples"] == {"train": 7007, "val": 1003, "test": 2005}
    assert numbers["data"]["classes"][4] == "melanoma"
    assert numbers["test"]["majority_accuracy"] == MAJORITY
    assert numbers["test"]["accuracy"] >= 0.70
    assert numbers["test"]["macro_auroc"] >= 0.87
