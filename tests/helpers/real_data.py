"""The rebuilt DermaMNIST, where it is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

VARIABLE = "DERMAEXP_TEST_DATA"
BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"  # beside the checkout
FOLDER = Path(os.environ.get(VARIABLE) or BESIDE).absolute()


def real_file(name: str) -> Path:
    """Returns the path of a file of the rebuilt DermaMNIST; skips the test where it is missing."""
    file = FOLDER / name
    if not file.is_file():
        pytest.skip(f"{file} is missing: set {VARIABLE} to the folder that holds {name}")
    return file
