"""The configs that come with the package."""

from __future__ import annotations

from pathlib import Path


def config_folder() -> Path:
    """The wheel's `conf/` inside the package, or a checkout's beside it."""
    package = Path(__file__).resolve().parent
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parent / "conf"


def options(group: str) -> list[str]:
    """Names of the YAMLs of a group such as callbacks; none of an unknown group."""
    return sorted(file.stem for file in (config_folder() / group).glob("*.yaml"))
