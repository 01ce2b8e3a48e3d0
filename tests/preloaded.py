"""What the server of `helpers.processes` imports for all commands, in the way of a run."""

from __future__ import annotations

import importlib

from dermaexp.core.lean_imports import import_all

import_all()
for name in ("dermaexp.launch.attempt", "dermaexp.training.experiment", "helpers"):
    importlib.import_module(name)
