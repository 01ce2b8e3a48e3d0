"""The config group dataset alone, composed from overrides as a run composes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra import compose
from omegaconf import DictConfig

from dermaexp.core.errors import UserError
from dermaexp.core.given_once import check_keys
from dermaexp.launch.config_folder import config_folder
from dermaexp.launch.hydra_internals import initialized


def composed(overrides: Sequence[str], config_dir: Path | None = None) -> DictConfig:
    """The config with these overrides of the config group dataset, as a run composes it."""
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        if key.partition(".")[0] != "dataset":
            raise UserError(
                f"'{override}' is not an override of the dataset: expected dataset=OPTION or "
                "dataset.KEY=VALUE"
            )
    check_keys(overrides)
    if config_dir is not None and not config_dir.is_dir():
        raise UserError(f"--config-dir {config_dir} is not a folder: expected one with dataset/")
    with initialized(config_folder(), config_dir and config_dir.absolute()):
        return compose("config", list(overrides))
