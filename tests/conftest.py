"""Fixtures: a small data file, the command line in this process, the real data where they are.

They import helpers when they are used: pytest-xdist's controller need not wait for torch.
"""

from __future__ import annotations

import functools
import logging
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

# Before torch and dermaexp are imported: tests are too small to share out.
os.environ["OMP_NUM_THREADS"] = "1"
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.pop("COLUMNS", None)  # of a width that only pytest's own lines need

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
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
    items.sort(key=_order)


def _order(item: pytest.Function) -> int:
    """The longest tests come first, so that no worker ends with one when the others are idle."""
    marks = {mark.name for mark in item.iter_markers()}
    return 0 if "distributed" in marks else 1 if marks & {"slow", "browser"} else 2


@pytest.fixture(scope="session")
def configs_read_once() -> Iterator[None]:
    from helpers.composition import read_configs_once

    with pytest.MonkeyPatch.context() as patch:
        read_configs_once(patch)
        yield


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test session's own, shared by its tests and workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture(autouse=True)
def own_modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Forget the modules that a test wrote: others of the same name must not find them."""
    before = set(sys.modules)
    yield
    folders = (str(tmp_path_factory.getbasetemp()), str(EXAMPLES))
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(folders):
            del sys.modules[name]


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    from helpers import small_arrays

    return small_arrays()


@pytest.fixture
def data_file(arrays: dict[str, np.ndarray], tmp_path: Path) -> Path:
    path = tmp_path / "small.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture
def cli(
    configs_read_once: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., int]]:
    """Run the command line in `tmp_path`, in this process; gives the exit code."""
    from helpers import exit_code
    from helpers.composition import compose_once

    from dermaexp.__main__ import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    compose_once(monkeypatch)
    handlers, level = list(logging.root.handlers), logging.root.level

    with warnings.catch_warnings():
        yield functools.partial(exit_code, monkeypatch, main)
    logging.captureWarnings(False)
    for handler in set(logging.root.handlers).difference(handlers):
        handler.close()  # a run's dermaexp.log
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.fixture
def tables_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps leave tables without the page and its figures, which take most of a small one."""
    monkeypatch.setattr("dermaexp.compare.page.files", lambda comparison, folder: {})


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The rebuilt DermaMNIST; the test is skipped where it is missing."""
    from helpers import real_file

    return real_file("dermamnist_rebuilt_28.npz")


@pytest.fixture(scope="session")
def real_index(real_data: Path) -> Path:
    """The CSV with the lesion of each image of `real_data`."""
    from helpers import real_file

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
