"""medmnist's own table of its 2D sets."""

from __future__ import annotations

from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

SIZES = (28, 64, 128, 224)


def _read_info() -> dict[str, dict[str, Any]]:
    """medmnist's own table of its 2D sets; without medmnist, which would import torch."""
    package = find_spec("medmnist")
    spec = spec_from_file_location("medmnist_info", Path(package.origin).with_name("info.py"))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return {flag: info for flag, info in module.INFO.items() if not flag.endswith("3d")}


INFO = _read_info()
