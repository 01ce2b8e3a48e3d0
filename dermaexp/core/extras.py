"""Packages that only an extra of the installation brings."""

from __future__ import annotations

import importlib
from types import ModuleType

from dermaexp.core.errors import UserError


def required(package: str, extra: str) -> ModuleType:
    """Import and return the package; UserError that names the extra where it is missing."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(
            f"the package {package} is missing: python -m pip install 'dermaexp[{extra}]'"
        ) from error
