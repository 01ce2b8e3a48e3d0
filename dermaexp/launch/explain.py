"""One line for any error: Hydra's and OmegaConf's, of the config and of the command line."""

from __future__ import annotations

import re
import sys

from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf.errors import (
    InterpolationKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from dermaexp.core.errors import (
    UserError,
    causes,
    first_line,
    line_of,
    line_of_system,
    nearest,
    nearest_of,
    one_line,
    typed,
)
from dermaexp.core.overrides import as_typed
from dermaexp.launch import config_folder, framework_errors
from dermaexp.launch.elsewhere import HERE, VERBS


class RunError(BaseException):
    """Carries the line on a run's error past Hydra, which would print lines of its own."""


def explain(error: BaseException) -> str:
    """One line for any error, including those of the frameworks and of the operating system."""
    if isinstance(error, RunError):
        return str(error)
    for cause in causes(error):
        if isinstance(cause, UserError):
            return str(cause)
    # The innermost cause with a line of its own says more than the errors that wrap it.
    for cause in causes(error):
        if line := _line_of_framework(cause, error) or line_of_system(cause):
            return line
    if isinstance(error, HydraException):
        return one_line(error)
    if framework_errors.is_null_group(error):
        return (
            "a config group was given null: expected one of its options by name, such as "
            "callbacks=none"
        )
    return line_of(error)


def _line_of_framework(cause: BaseException, outer: BaseException) -> str | None:
    """A line for an error of Hydra or OmegaConf that `outer` wraps, None for any other."""
    if isinstance(cause, OverrideParseException):
        return _explain_syntax(cause)
    if isinstance(cause, MissingConfigException):
        return _explain_missing_option(cause)
    if isinstance(cause, ConfigCompositionException):
        argument = framework_errors.comma_argument(cause)
        return argument and _explain_comma(argument)
    if isinstance(cause, (InterpolationKeyError, InterpolationResolutionError)):
        return _explain_interpolation(cause)
    if isinstance(cause, MissingMandatoryValue):
        key = framework_errors.missing_key(cause)
        return f"{key} is missing: give it on the command line, {key}=VALUE"
    if isinstance(cause, OmegaConfBaseException):
        return _explain_key(cause, outer)
    if isinstance(cause, InstantiationException):
        return _explain_instantiation(cause)
    # Those of joblib, which may not be installed, and of concurrent.futures.
    if type(cause).__name__ in ("TerminatedWorkerError", "BrokenProcessPool"):
        return (
            "a worker process was killed, perhaps for want of memory: the same command resumes the "
            "sweep; hydra.launcher.n_jobs=N sets how many jobs run at once"
        )
    return None


def _explain_syntax(error: OverrideParseException) -> str:
    given = error.override
    if given in VERBS:
        return f"there is no verb {given}: python -m dermaexp model=cnn trains and tests a model"
    if "=" not in given and not given.startswith("~"):
        return f"'{given}' is not an override: expected KEY=VALUE, such as model=cnn"
    reason = framework_errors.unknown_function(error)  # others are words of the lexer
    line = f"'{given}' cannot be read as an override{f' ({reason})' if reason else ''}"
    key, _, value = given.partition("=")
    if not re.fullmatch(r"[+~]*[\w.@/:-]+", key):
        return f"{line}: expected KEY=VALUE, such as model=cnn"
    return f"{line}: to give this text as it is, type {as_typed(key, _unquoted(value))}"


def _unquoted(value: str) -> str:
    """Without quotes around the whole value, which were meant for Hydra."""
    return value[1:-1] if value[:1] in ("'", '"') and value[-1:] == value[:1] else value


def _explain_comma(given: str) -> str:
    key, _, value = given.partition("=")
    return (
        f"'{given}' has several values: give -m to sweep over them, or {key}=[A,B] for a list; to "
        f"give this text as it is, type {as_typed(key, value)}"
    )


def _explain_interpolation(error: OmegaConfBaseException) -> str:
    reason = first_line(error)
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
        return f"--config-name {file} is unknown: {nearest(file, config_folder.options(''))}"
    known = error.options or config_folder.options(
        group
    )  # Hydra names none for an option in a list
    if not known:
        return f"{file} is not in the config folder: python -m dermaexp --help lists what is"
    return f"{group}={option} is unknown: {nearest(option, known)}"


def _explain_key(error: OmegaConfBaseException, outer: BaseException) -> str:
    if group := framework_errors.removed_group(error):
        return f"the config group {group} is missing: expected {group}=OPTION, not ~{group}"
    given = framework_errors.refused_key(error)
    if given.startswith("hydra.") and (keys := framework_errors.keys_beside(error)) is not None:
        return f"the key {given} is unknown: {_nearest_key_of_hydra(given, keys)}"
    if keys := framework_errors.valid_keys(error):
        return f"the key {given} is unknown: {_nearest_key(given, keys)}"
    if key := framework_errors.overridden_key(outer):
        return f"the key {key} is unknown: {first_line(error)}"
    return f"{given}: {first_line(error)}"


def _nearest_key(given: str, keys: list[str]) -> str:
    """A hint at the nearest of `keys`, or at how to get a key that a group does not have yet."""
    if meant := HERE.get(given.casefold()):
        return f"give {meant}"
    group, part = [*given.split("."), ""][:2]
    several = {"callbacks": f"'callbacks=[default,{part}]'", "logger": f"logger={part}"}
    is_part = group in several and part in config_folder.options(group)
    if is_part and f"{group}.{part}" not in keys:
        return f"give {several[group]} too"
    is_direct = given.count(".") == 1
    if is_direct and (having := config_folder.options_with(part, group)):
        return f"it is a key of {group}={', '.join(having)}"
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


def _nearest_key_of_hydra(given: str, keys: list[str]) -> str:
    """A hint at the launchers that have the key, or at the nearest of `keys`, those beside it."""
    parent, _, leaf = given.rpartition(".")
    launchers = config_folder.options_with(leaf, "hydra/launcher")
    if parent != "hydra.launcher" or not launchers:
        return nearest(leaf, keys) if keys else f"{parent} takes none"
    hint = f"hydra/launcher={' | '.join(launchers)} has it"
    if leaf == "array_parallelism":  # submitit_local starts all jobs at once
        hint += "; for N jobs at once on this machine give hydra/launcher=joblib hydra.launcher."
        hint += "n_jobs=N"
    return hint


def _explain_instantiation(error: InstantiationException) -> str:
    """Hydra keeps the reason in the cause."""
    cause = next(causes(error.__cause__)) if error.__cause__ else None
    line = f"{framework_errors.instantiated_key(error)} cannot be built: "
    line += typed(cause) if cause else one_line(error)
    if isinstance(cause, ModuleNotFoundError):
        line += "; python -m dermaexp finds modules in the current folder and those of PYTHONPATH"
    return line
