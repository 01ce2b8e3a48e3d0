"""The configs that come with the package."""

from __future__ import annotations

from pathlib import Path


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
