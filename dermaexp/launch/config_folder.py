"""The configs that come with the package."""

from __future__ import annotations

from pathlib import Path

from omegaconf import OmegaConf


def config_folder() -> Path:
    """Return the wheel's `conf/` inside the package, or a checkout's beside it."""
    package = Path(__file__).resolve().parents[1]
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parent / "conf"


def options(group: str) -> list[str]:
    """The options of a config group such as callbacks; none of an unknown one.

    Files whose names begin with _ are parts of others.
    """
    return sorted(file.stem for file in (config_folder() / group).glob("[!_]*.yaml"))


def options_with(key: str, group: str) -> list[str]:
    """The options of a config group whose own file has the key, such as width."""
    files = {option: config_folder() / group / f"{option}.yaml" for option in options(group)}
    return [option for option, file in files.items() if key in list(OmegaConf.load(file))]
