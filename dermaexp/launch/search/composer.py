"""Configs composed by the search itself, before or beside the jobs that Hydra composes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from dermaexp.core.containers import to_dict
from dermaexp.core.overrides import quoted
from dermaexp.launch.validate import GROUPS

Options = dict[str, Any]  # config group -> option, a list of several, None for none


@dataclass(frozen=True)
class Composer:
    """Composes configs by Hydra's `loader` for the search with the config `search`."""

    loader: ConfigLoader
    search: DictConfig

    def trial(self, overrides: Sequence[str]) -> DictConfig:
        """The config of a trial with these overrides, as a job gets it; raises Hydra's errors."""
        config = self.loader.load_sweep_config(self.search, list(overrides))
        with read_write(config.hydra), open_dict(config.hydra):  # known to a job only
            config.hydra.job.id = config.hydra.job.num = 0
            config.hydra.runtime.output_dir = "."
        HydraConfig.instance().set_config(config)
        return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])

    def options(self, overrides: Sequence[str]) -> Options:
        """The option of each config group with these overrides."""
        found = self.loader.compute_defaults_list(
            self._primary, [*self._search_path, *overrides], RunMode.RUN
        ).defaults
        options: Options = {}
        for group in GROUPS:
            given = [
                default.config_path.removeprefix(f"{group}/")
                for default in found
                if default.parent == self._primary
                and default.config_path
                and default.config_path.startswith(f"{group}/")
            ]
            options[group] = given if len(given) > 1 else given[0] if given else None
        return options

    def base(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The config with these options and no value given."""
        overrides = [*self._search_path]
        for group, option in options.items():
            if option is None:
                overrides.append(f"~{group}")
            elif isinstance(option, list):
                overrides.append(f"{group}=[{','.join(map(quoted, option))}]")
            else:
                overrides.append(f"{group}={quoted(option)}")
        config = to_dict(self.loader.load_configuration(self._primary, overrides, RunMode.RUN))
        return {key: value for key, value in config.items() if key != "hydra"}

    def experiments(self) -> list[str]:
        """The names of all experiments that the search can find."""
        return self.loader.get_group_options(
            "experiment", config_name=self._primary, overrides=self._search_path
        )

    @property
    def _primary(self) -> str:
        return self.search.hydra.job.config_name

    @property
    def _search_path(self) -> list[str]:
        """The override, if given, that says where options are found."""
        given = self.search.hydra.overrides.hydra
        return [override for override in given if override.startswith("hydra.searchpath=")]
