"""medmnist's own table of its 2D sets, read from its info.py alone.

`import medmnist` would import torch and pandas, which `--help` and checks of a config do without.
"""

from __future__ import annotations

import runpy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dermaexp.core.tasks import Task


def _read_info() -> dict[str, dict[str, Any]]:
    """The table INFO of medmnist/info.py without the 3D sets; ImportError names what is missing."""
    package = find_spec("medmnist")
    if package is None or package.origin is None:
        raise ImportError("medmnist is not installed: pip install medmnist")
    file = Path(package.origin).with_name("info.py")
    try:
        table = runpy.run_path(str(file))["INFO"]
    except (OSError, KeyError) as error:
        raise ImportError(f"{file} has no table INFO any more: {error!r}") from error
    return {flag: info for flag, info in table.items() if not flag.endswith("3d")}


INFO = _read_info()
TASKS: dict[str, Task] = {  # by medmnist's own words
    "multi-class": "multi-class",
    "multi-label, binary-class": "multi-label",
    "ordinal-regression": "ordinal",
    "binary-class": "binary",
}


def task_of_set(flag: str) -> Task:
    """Return the task of a set; ImportError for one that medmnist calls otherwise."""
    words = INFO[flag]["task"]
    if words not in TASKS:
        raise ImportError(f"medmnist calls the task of {flag} {words!r}: none of {list(TASKS)}")
    return TASKS[words]
