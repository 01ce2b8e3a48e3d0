"""Which file a model's weights start from; without torch, so that mistakes are reported at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dermaexp.core.files import expanded

LOADING = ("weights", "init_from")  # the keys of the config group model for weights to start from
LIBRARIES = ("dermaexp.models.timm_net.build", "dermaexp.models.torchvision_net.build")
SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors")


def is_file(weights: Any) -> bool:
    """Whether `model.weights` is a file's path, not the name of weights in a library."""
    return str(weights).lower().endswith(SUFFIXES)


def given_file(model: Mapping[str, Any]) -> Path | None:
    """Return the file that the config group `model` names as its weights; None if it names none."""
    weights = model.get("weights")
    return expanded(str(weights)) if is_file(weights) else None
