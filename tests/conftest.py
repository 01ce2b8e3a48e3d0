"""Fixtures: a small data file, the command line in this process, the real data where they are."""

from __future__ import annotations

import functools
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch and dermaexp are imported
    os.environ["OMP_NUM_THREADS"] = "1"  # each of the workers has a core
    os.environ.pop("COLUMNS", None)  # of a width that only pytest's own lines need

from helpers import CLASSES, REAL_DATA, exit_code


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test session's own, shared by its tests."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    """A MedMNIST-like file's arrays: 12 px, three classes of other brightness, more of class 1."""
    generator = np.random.default_rng(0)
    content = {}
    for split, samples in (("train", 120), ("val", 40), ("test", 50)):
        labels = generator.choice(CLASSES, samples, p=(0.25, 0.5, 0.25))
        noise = generator.integers(0, 90, (samples, 12, 12, 3))
        content[f"{split}_images"] = (noise + 60 * labels[:, None, None, None]).astype(np.uint8)
        content[f"{split}_labels"] = labels.astype(np.uint8)[:, None]
    return content


@pytest.fixture
def data_file(arrays: dict[str, np.ndarray], tmp_path: Path) -> Path:
    path = tmp_path / "small.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Run the command line in `tmp_path`, in this process; gives the exit code."""
    from dermaexp.__main__ import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    handlers, level = list(logging.root.handlers), logging.root.level

    with warnings.catch_warnings():
        yield functools.partial(exit_code, monkeypatch, main)
    logging.captureWarnings(False)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.fixture
def real_data() -> Path:
    if not REAL_DATA.exists():
        pytest.skip(f"the rebuilt DermaMNIST is not at {REAL_DATA}")
    return REAL_DATA
