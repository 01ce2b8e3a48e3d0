"""The command line sorted into Hydra's flags and overrides, with a hint for each mistake."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from dermaexp.core.errors import UserError, nearest, nearest_of
from dermaexp.core.given_once import Flags
from dermaexp.core.overrides import as_typed
from dermaexp.launch.elsewhere import HERE
from dermaexp.launch.hydra_internals import flag_parser, flags_of

BARE = ("--info", "-i")  # flags whose value may be left out
SWEEP = "hydra.mode=MULTIRUN"
UNTAKEN = ("experiment=null",)  # the config's default, which Hydra refuses as an override
HYDRA = ("multirun", "help", "config_dir", "config_name", "version", "run", "info", "resolve")


class CommandLine(NamedTuple):
    """Hydra's `flags` with their values, the `overrides`, and whether they describe a sweep."""

    flags: list[str]
    overrides: list[str]
    is_sweep: bool


def parsed(arguments: list[str]) -> CommandLine:
    """Sort the arguments: Hydra itself takes no override after a flag.

    Raises UserError for a flag that Hydra does not have, naming the nearest that it has, for one
    with two values, and for a value that Hydra would change.
    """
    # Before Hydra's parser, which reads -model as -m with a value.
    for word in arguments:
        if re.match("-[a-z]{2}", word) and (hint := _as_override(word, arguments, 1.0)):
            raise UserError(f"the flag {word} is unknown: {hint}")
    parser = flag_parser(_raise_user_error)
    known, rest = parser.parse_known_args(arguments, Flags())
    for flag in rest:
        if flag.startswith("-"):
            hint = _as_override(flag, arguments, 0.6) or nearest(flag, flags_of(parser))
            raise UserError(f"the flag {flag} is unknown: {hint}")
    if known.config_path:
        raise UserError("--config-path is not supported: give --config-dir DIR with groups in it")
    given = [*known.overrides, *rest]
    flags = [argument for argument in arguments if argument not in given]
    overrides = [override for override in given if override not in (SWEEP, *UNTAKEN)]
    if SWEEP in given and not known.multirun:
        flags.append("-m")
    for override in overrides:
        key, _, value = override.partition("=")
        if value.strip() not in ("", value):
            typed = as_typed(key, value)
            raise UserError(f"'{override}' has blanks at an end of its value: type {typed}")
    return CommandLine(flags, overrides, "-m" in flags or known.multirun)


def all_flags() -> list[str]:
    """Return the long flags, such as --multirun."""
    return flags_of(flag_parser(_raise_user_error))


def joined(flags: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """The arguments in an order that Hydra takes: a bare flag would swallow the first override."""
    last = 1 if flags and flags[-1] in BARE else 0
    return [*flags[: len(flags) - last], *overrides, *flags[len(flags) - last :]]


def _as_override(flag: str, arguments: Sequence[str], cutoff: float) -> str | None:
    """What to give instead of --KEY=VALUE or --KEY VALUE, if KEY is near a key of the config."""
    from dermaexp.launch import validate  # with pydantic, for which --cfg job should not wait

    key, equals, value = flag.lstrip("-").partition("=")
    top, dot, rest = key.replace("-", "_").partition(".")
    if meant := HERE.get(key.replace("-", "_").casefold()):
        return f"give {meant}"
    near = nearest_of(top, (*validate.KEYS, *validate.GROUPS, "experiment", *HYDRA), cutoff)
    if near is None or near in HYDRA:
        return None
    key = f"{near}{dot}{rest}"
    behind = arguments[arguments.index(flag) + 1 :]
    if not equals and behind and not behind[0].startswith("-") and "=" not in behind[0]:
        value = behind[0]
    return f"give {as_typed(key, value or 'VALUE')}"


def _raise_user_error(message: str) -> NoReturn:
    raise UserError(f"{message}: see python -m dermaexp --help")
