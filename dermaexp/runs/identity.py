"""Which configs are the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

# Of the trainer: 1 is one batch, 1.0 is all of them.
SHARE_OR_COUNT = ("limit_", "overfit_batches", "val_check_interval")
EXACT = 2**53  # below, every whole number is a float
MOVED = {  # modules that runs of earlier versions name
    "dermaexp.augment": "dermaexp.training.augment",
    "dermaexp.losses": "dermaexp.training.losses",
    "dermaexp.schedules": "dermaexp.training.schedules",
}


def canonical(value: Any, key: str = "") -> Any:
    """The value with whole numbers as integers and today's names: equal configs are equal text."""
    if isinstance(value, Mapping):
        return {name: canonical(node, name) for name, node in value.items()}
    if isinstance(value, list):
        return [canonical(node, key) for node in value]
    if key == "_target_" and isinstance(value, str):
        module, _, name = value.rpartition(".")
        return f"{MOVED.get(module, module)}.{name}"
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < EXACT
    return int(value) if is_whole and not key.startswith(SHARE_OR_COUNT) else value


def config_digest(config: Mapping[str, Any]) -> str:
    """SHA-256 of the resolved config, the same for the same settings in any order."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
