"""timm's models, from scratch or with the weights that it knows; timm is an extra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from dermaexp.core.errors import UserError, one_line
from dermaexp.models.adapter import Library, Model, unavailable

try:
    import timm
    from timm.models import PretrainedCfg
except ImportError as error:
    line = f"model=timm needs a package that is missing ({error}): pip install 'dermaexp[timm]'"
    raise UserError(line) from error


def _weights(arch: str) -> list[str]:
    """DEFAULT and timm's tags, such as c3_in1k."""
    tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{arch}.*")]
    return ["DEFAULT", *tags] if tags else []


def _model(arch: str, weights: str | None, channels: int, classes: int) -> Model:
    name = arch if weights in (None, "DEFAULT") else f"{arch}.{weights}"
    config = timm.models.get_pretrained_cfg(name) or PretrainedCfg()

    def create(**sized: Any) -> nn.Module:
        pretrained = weights is not None
        try:
            return timm.create_model(
                name, pretrained, in_chans=channels, num_classes=classes, **sized
            )
        except OSError as error:
            # The line contains the message of the error.
            raise _unavailable(config, error) from None

    return Model(
        create,
        sized=(lambda side: {"img_size": side}) if config.fixed_input_size else None,
        side=config.input_size[-1],
        mean=_for_channels(config.mean, channels),
        std=_for_channels(config.std, channels),
    )


def _for_channels(values: tuple[float, ...], channels: int) -> list[float]:
    """The values of RGB, or their mean for gray, whose filters are timm's sums of RGB's."""
    return list(values) if len(values) == channels else [sum(values) / len(values)] * channels


def _unavailable(config: Any, error: OSError) -> UserError:
    """Which weights are not available, why, and where they are looked for."""
    reason = one_line(error.__cause__ or error)
    if not config.hf_hub_id:
        folder = Path(torch.hub.get_dir(), "checkpoints")
        return unavailable(Path(config.url).name, folder, reason, f"put {config.url} there")
    from huggingface_hub import constants

    remedy = f"run `hf download {config.hf_hub_id}` with a network"
    return unavailable(config.hf_hub_id, Path(constants.HF_HUB_CACHE), reason, remedy)


build = Library("timm.list_models()", timm.list_models, _weights, _model).build
