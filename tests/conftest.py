"""Fixtures: a small data file, the command line in this process, the real data where they are."""

from __future__ import annotations

import functools
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch and dermaexp are imported
    os.environ["OMP_NUM_THREADS"] = "1"  # each of the workers has a core
    os.environ.pop("COLUMNS", None)  # of a width that only pytest's own lines need

from helpers import CLASSES, exit_code, real_file

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

# Tests are marked by what they ask for, so that no marker is forgotten.
MARKERS = {"browser": "browser", "real_data": "real_data"}  # fixture: marker
CHROMIUM = (
    "--headless=new",
    "--no-sandbox",  # which root cannot have
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marker
def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    for item in items:
        for fixture, marker in MARKERS.items():
            if fixture in item.fixturenames:
                item.add_marker(marker)


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
    for handler in set(logging.root.handlers).difference(handlers):
        handler.close()  # a run's dermaexp.log
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The rebuilt DermaMNIST; the test is skipped where it is missing."""
    return real_file("dermamnist_rebuilt_28.npz")


@pytest.fixture(scope="session")
def real_index(real_data: Path) -> Path:
    """The CSV with the lesion of each image of `real_data`."""
    return real_file("dermamnist_rebuilt_index.csv")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """One Chromium for all tests, which logs its console and its requests.

    Its driver's path is given, so that Selenium downloads none.
    """
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("no chromium and chromedriver here")
    options = ChromeOptions()
    options.binary_location = chromium
    for flag in (*CHROMIUM, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = Chrome(options, Service(driver, log_output=os.devnull))
    try:
        yield chrome
    finally:
        chrome.quit()
