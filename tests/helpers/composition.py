"""Hydra composes configs faster: each file is read once, and a command's config composed once."""

from __future__ import annotations

import copy
import os
import sys
from pathlib import Path

import pytest
from hydra._internal.hydra import Hydra
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource

CONF = Path(__file__).resolve().parents[2] / "conf"
MODE_IS_GIVEN = any("MULTIRUN" in file.read_text() for file in CONF.rglob("*.yaml"))


def read_configs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what a file held, for as long as it is the same file."""
    Plugins.instance()  # registers the sources, in modules imported anew
    source = SourcesRegistry.instance().resolve("file")
    load = source.load_config
    kept: dict[tuple, ConfigResult] = {}

    def load_config(self: ConfigSource, config_path: str) -> ConfigResult:
        file = os.path.realpath(Path(self.path, self._normalize_file_name(config_path)))
        state = Path(file).stat()
        key = file, self.path, self.provider, state.st_ino, state.st_mtime_ns, state.st_size
        if key not in kept:
            kept[key] = load(self, config_path)
        return copy.deepcopy(kept[key])

    monkeypatch.setattr(source, "load_config", load_config)


def compose_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra composes a command's config an additional time, to look for hydra.mode.

    None of ours gives it, which leaves it to -m.
    """
    get_mode = Hydra.get_mode

    def mode(self: Hydra, config_name: str | None, overrides: list[str]) -> object:
        if MODE_IS_GIVEN or "--config-dir" in sys.argv or "hydra.mode" in "".join(overrides):
            return get_mode(self, config_name, overrides)
        return None

    monkeypatch.setattr(Hydra, "get_mode", mode)
