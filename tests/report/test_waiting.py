"""Figures that wait: the same ones, of a run's own data, and none is lost where a run fails."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from dermaexp.metrics.predictions import Predictions
from dermaexp.report import figures, waiting
from dermaexp.report.style import png_bytes
from dermaexp.runs.directory import FIGURES

OPTIONS = {"montage": {"columns": 2}, "misclassified": {"count": 3}}
OPTIONS["reliability"] = {"calibrate": True}
IMAGES = 60


@pytest.fixture
def run() -> SimpleNamespace:
    """A run of three classes: what figures read of one."""
    rng = np.random.default_rng(0)
    targets = np.arange(IMAGES) % 3
    scores = rng.dirichlet((1, 1, 1), IMAGES).astype(np.float32)
    images = rng.integers(0, 256, (IMAGES, 8, 8, 3), dtype=np.uint8)
    columns = ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "val_macro_auroc")
    return SimpleNamespace(
        name="ffn",
        data_title="Set",
        test_part="test",
        classes=["nevus", "melanoma", "$a"],
        history=[dict.fromkeys(columns, 0.5) | {"epoch": epoch} for epoch in (1, 2)],
        val=Predictions(targets, scores),
        test=Predictions(targets, scores),
        train_images=images,
        train_labels=targets,
        test_images=images,
    )


@pytest.mark.parametrize("name", FIGURES)
def test_another_process_plots_the_same_figure(name: str, run: SimpleNamespace) -> None:
    options = OPTIONS.get(name, {})
    plot = pickle.loads(pickle.dumps(figures.prepared(name, run, options)))
    assert png_bytes(plot()) == png_bytes(figures.plot(name, run, options))


@pytest.mark.parametrize(("name", "shown"), [("montage", 6), ("misclassified", 3)])
def test_only_the_images_shown_are_sent(name: str, shown: int, run: SimpleNamespace) -> None:
    held = figures.prepared(name, run, OPTIONS[name]).args[0]
    assert held.shape == run.test_images.shape
    assert len(held.images) == shown
    np.testing.assert_array_equal(held[held.places], run.test_images[held.places])


def test_figures_wait_until_the_end_of_the_run(tmp_path: Path) -> None:
    plot = partial(Figure, (1, 1))
    with waiting.figures_wait(tmp_path) as figures_left:
        waiting.draw(tmp_path, "first", plot)
        assert not (tmp_path / "figures").exists()
    assert figures_left == [("first", plot)]
    waiting.draw(tmp_path, "second", plot)
    assert [file.name for file in (tmp_path / "figures").iterdir()] == ["second.png"]


def test_a_run_that_fails_has_its_figures(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="in epoch 2"), waiting.figures_wait(tmp_path):
        waiting.draw(tmp_path, "montage", partial(Figure, (1, 1)))
        raise ValueError("in epoch 2")
    assert (tmp_path / "figures" / "montage.png").exists()
