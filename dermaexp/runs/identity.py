"""Whether two configs are the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

# Keys of the trainer in which 1 is one batch and 1.0 is all of them.
SHARE_OR_COUNT = ("limit_", "overfit_batches", "val_check_interval")
EXACT = 2**53  # below, every whole number is a float


def canonical(value: Any, key: str = "") -> Any:
    """The value with whole numbers as integers, so that equal configs are equal text."""
    if isinstance(value, Mapping):
        return {name: canonical(node, name) for name, node in value.items()}
    if isinstance(value, list):
        return [canonical(node, key) for node in value]
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < EXACT
    return int(value) if is_whole and not key.startswith(SHARE_OR_COUNT) else value


def config_digest(config: Mapping[str, Any]) -> str:
    """SHA-256 of the resolved config, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
