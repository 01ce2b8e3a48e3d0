"""Errors of Hydra and OmegaConf in one line, those of the config and of the command line."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import Container, DictConfig, OmegaConf
from omegaconf.errors import (
    InterpolationKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from dermaexp.core.errors import (
    UserError,
    causes,
    line_of,
    line_of_system,
    nearest,
    nearest_of,
    one_line,
    typed,
)
from dermaexp.core.overrides import as_typed
from dermaexp.launch import config


class RunError(BaseException):
    """Carries a run's error, told in one line, past Hydra, which would print lines of its own."""


def explain(error: BaseException) -> str:
    """One line for any error, the framework's and the operating system's included."""
    if isinstance(error, RunError):
        return str(error)
    for cause in causes(error):
        if isinstance(cause, UserError):
            return str(cause)
    # The first cause that has a line of its own tells more than what it was wrapped in.
    for cause in causes(error):
        if isinstance(cause, OverrideParseException):
            return _explain_syntax(cause)
        if isinstance(cause, MissingConfigException):
            return _explain_missing_option(cause)
        if isinstance(cause, ConfigCompositionException):
            if match := re.search(r"Ambiguous value for argument '(.+?)'\n", str(cause)):
                return _explain_comma(match[1])
            continue
        if isinstance(cause, (InterpolationKeyError, InterpolationResolutionError)):
            return _explain_interpolation(cause)
        if isinstance(cause, MissingMandatoryValue):
            key = getattr(cause, "full_key", None) or str(cause).split(": ")[-1]
            return f"{key} is missing: give it on the command line, {key}=VALUE"
        if isinstance(cause, OmegaConfBaseException):
            return _explain_key(cause, error)
        if isinstance(cause, InstantiationException):
            return _explain_instantiation(cause)
        if line := line_of_system(cause):
            return line
    if isinstance(error, HydraException):
        return one_line(error)
    if "Config group override must be a string" in str(error):
        return "a group was given null: expected one of its options by name, such as callbacks=none"
    return line_of(error)


def _explain_syntax(error: OverrideParseException) -> str:
    given = error.override
    if "=" not in given and not given.startswith("~"):
        return f"'{given}' is not an override: expected KEY=VALUE, such as model=cnn"
    reason = str(next(causes(error))).splitlines()[0]
    # Other reasons are words of the lexer.
    why = f" ({reason})" if reason.startswith("Unknown function") else ""
    line = f"'{given}' cannot be read as an override{why}"
    key, _, value = given.partition("=")
    if not re.fullmatch(r"[+~]*[\w.@/:-]+", key):
        return f"{line}: expected KEY=VALUE, such as model=cnn"
    return f"{line}: to give this text as it is, type {as_typed(key, _unquoted(value))}"


def _unquoted(value: str) -> str:
    """Without the quotes around all of it, which somebody meant for Hydra."""
    return value[1:-1] if value[:1] in ("'", '"') and value[-1:] == value[:1] else value


def _explain_comma(given: str) -> str:
    key, _, value = given.partition("=")
    return (
        f"'{given}' has several values: give -m to sweep over them, or {key}=[A,B] for a list; to "
        f"give this text as it is, type {as_typed(key, value)}"
    )


def _explain_interpolation(error: OmegaConfBaseException) -> str:
    reason = str(error).splitlines()[0]
    given = [word for word in sys.argv[1:] if "${" in word and "=" in word]
    if not given:
        return f"{getattr(error, 'full_key', None) or 'the config'}: {reason}"
    key, _, value = given[0].partition("=")
    typed = as_typed(key, _unquoted(value))
    return f"'{given[0]}': {reason}; to give this text as it is, type {typed}"


def _explain_missing_option(error: MissingConfigException) -> str:
    file = error.missing_cfg_file
    if file is None:
        return one_line(error)
    group, _, option = file.rpartition("/")
    if not group:
        return f"--config-name {file} is unknown: {nearest(file, config.options(''))}"
    known = error.options or config.options(group)  # Hydra knows none of a list's
    if not known:
        return f"{file} is not in the config folder: python -m dermaexp --help lists what is"
    return f"{group}={option} is unknown: {nearest(option, known)}"


def _explain_key(error: OmegaConfBaseException, outer: BaseException) -> str:
    parent = getattr(error, "parent_node", None)
    if match := re.search(r"hydra\.runtime\.choices\.(\w+)", str(error)):
        return f"the group {match[1]} is missing: expected {match[1]}=OPTION, not ~{match[1]}"
    given = str(getattr(error, "full_key", None) or getattr(error, "key", None))
    reason = str(error).splitlines()[0]
    if isinstance(parent, DictConfig) and "is not in struct" in str(error):
        return f"the key {given} is unknown: {_nearest_key(given, parent)}"
    if match := re.search(r"Could not override '(.+?)'", str(outer)):
        return f"the key {match[1]} is unknown: {reason}"
    return f"{given}: {reason}"


def _nearest_key(given: str, parent: DictConfig) -> str:
    keys = [key for key in _dotted_keys(parent._get_root()) if not key.startswith("hydra.")]
    group, callback = [*given.split("."), ""][:2]
    is_callback = group == "callbacks" and callback in config.options(group)
    if is_callback and f"{group}.{callback}" not in keys:
        return f"give '{group}=[default,{callback}]' too"
    leaf = given.rpartition(".")[2].casefold()
    for key in keys:
        if key.rpartition(".")[2].casefold() == leaf:
            return f"did you mean '{key}'?"
    siblings = [key for key in keys if key.rpartition(".")[0] == given.rpartition(".")[0]]
    if near := nearest_of(given, keys, 0.85 if group == "trainer" else 0.6):
        return f"did you mean '{near}'?"
    if group == "trainer":
        return f"give +{given}=VALUE, with a plus, for another key of Lightning's Trainer"
    return f"expected one of: {', '.join(siblings or keys)}"


def _dotted_keys(config: Container, prefix: str = "") -> Iterator[str]:
    if not isinstance(config, DictConfig) or OmegaConf.is_missing(config, ""):
        return
    for key in config:
        yield f"{prefix}{key}"
        child = config._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
            yield from _dotted_keys(child, f"{prefix}{key}.")


def _explain_instantiation(error: InstantiationException) -> str:
    """Hydra puts the config's key on the last line and keeps the reason in the cause."""
    key = str(error).rpartition("full_key: ")[2] if "full_key: " in str(error) else "config"
    reason = typed(next(causes(error.__cause__))) if error.__cause__ else one_line(error)
    return f"{key} cannot be built: {reason}"
