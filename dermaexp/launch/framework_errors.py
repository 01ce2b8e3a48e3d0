"""What Hydra's and OmegaConf's errors are about, which they say in English sentences only.

The only module that reads these sentences, and that uses OmegaConf's private attributes;
tests/launch/test_framework_errors.py names the sentence or attribute that a version changed.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from hydra.errors import (
    ConfigCompositionException,
    InstantiationException,
    OverrideParseException,
)
from omegaconf import DictConfig
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from dermaexp.core.containers import to_dict
from dermaexp.core.errors import causes, first_line


def ignore_schema_warning() -> None:
    """Ignore a warning on conf/hydra/launcher/, whose options have the names of their plugins'.

    They need these names: they add to the plugins' own schemas.
    """
    warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/\w+' is validated against")


def comma_argument(error: ConfigCompositionException) -> str | None:
    """The argument with several values, which no -m makes a sweep; None for another error."""
    match = re.search(r"Ambiguous value for argument '(.+?)'\n", str(error))
    return match[1] if match else None


def is_null_group(error: BaseException) -> bool:
    """Whether the error is that of a config group which is given null."""
    return "Config group override must be a string" in str(error)


def unknown_function(error: OverrideParseException) -> str | None:
    """The reason, if the override calls a function that Hydra does not have."""
    reason = first_line(next(causes(error)))
    return reason if reason.startswith("Unknown function") else None


def missing_key(error: MissingMandatoryValue) -> str:
    """The dotted key that has no value."""
    return getattr(error, "full_key", None) or str(error).split(": ")[-1]


def removed_group(error: OmegaConfBaseException) -> str | None:
    """The config group that was removed, ~GROUP, and whose option is asked for."""
    match = re.search(r"hydra\.runtime\.choices\.(\w+)", str(error))
    return match[1] if match else None


def refused_key(error: OmegaConfBaseException) -> str:
    """The key that OmegaConf cannot set or read."""
    return str(getattr(error, "full_key", None) or getattr(error, "key", None))


def overridden_key(error: BaseException) -> str | None:
    """The key of the override that Hydra could not apply; None for another error."""
    match = re.search(r"Could not override '(.+?)'", str(error))
    return match[1] if match else None


def valid_keys(error: OmegaConfBaseException) -> list[str] | None:
    """All dotted keys of the config that lacks the refused key; None for another error."""
    parent = getattr(error, "parent_node", None)
    if not isinstance(parent, DictConfig) or "is not in struct" not in str(error):
        return None
    root = parent._get_root()
    assert isinstance(root, DictConfig)
    return [key for key in _dotted_keys(to_dict(root)) if not key.startswith("hydra.")]


def keys_beside(error: OmegaConfBaseException) -> list[str] | None:
    """The keys of the node that lacks the refused key; None for another error."""
    parent = getattr(error, "parent_node", None)
    if isinstance(error, (ConfigAttributeError, ConfigKeyError)) and isinstance(parent, DictConfig):
        return [str(key) for key in parent if key != "_target_"]
    return None


def _dotted_keys(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in config.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _dotted_keys(value, f"{prefix}{key}.")


def instantiated_key(error: InstantiationException) -> str:
    """The key of what cannot be built: Hydra names it on the last line."""
    return str(error).rpartition("full_key: ")[2] if "full_key: " in str(error) else "config"
