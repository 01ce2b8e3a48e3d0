"""Configs as plain dictionaries."""

from __future__ import annotations

from typing import Any, cast

from omegaconf import DictConfig, OmegaConf


def to_dict(
    config: DictConfig, *, resolve: bool = False, throw_on_missing: bool = False
) -> dict[str, Any]:
    """Return `config` as a dict: OmegaConf's own function is typed for lists and missing nodes too.

    Raises OmegaConf's errors for an interpolation that cannot be resolved (`resolve`) and for a
    value that is missing (`throw_on_missing`).
    """
    content = OmegaConf.to_container(config, resolve=resolve, throw_on_missing=throw_on_missing)
    return cast(dict[str, Any], content)
