"""medmnist's own table of its 2D sets, read from its info.py alone.

`import medmnist` would import torch and pandas, which `--help` and checks of a config do without.
"""

from __future__ import annotations

import runpy
from importlib.util import find_spec
from pathlib import Path
from typing import Any


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
