"""Hydra's grammar of overrides, which its documentation describes but whose parser it does not.

The only module that imports `hydra.core.override_parser`;
tests/core/test_override_grammar.py names what a version of Hydra lacks.
"""

from __future__ import annotations

from collections.abc import Sequence

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    Quote,
    QuotedString,
    RangeSweep,
)
from hydra.errors import HydraException

__all__ = [
    "ChoiceSweep",
    "IntervalSweep",
    "Override",
    "RangeSweep",
    "options_of",
    "parse",
    "parse_one",
    "reason_of",
    "text_of",
    "with_quotes",
]


def parse(lines: Sequence[str], loader: ConfigLoader | None = None) -> list[Override]:
    """Parse overrides such as "model=cnn,ffn"; raises OverrideParseException for one that is none.

    With a `loader`, glob(…) finds the options of a config group.
    """
    return OverridesParser.create(config_loader=loader).parse_overrides(list(lines))


def parse_one(line: str) -> Override:
    """Parse one override; raises HydraException with the reason alone."""
    return OverridesParser.create().parse_override(line)


def reason_of(error: HydraException) -> str:
    """Why `parse_one` refused an override, without Hydra's "… while evaluating '…': "."""
    return str(error).splitlines()[0].rpartition("': ")[2]


def text_of(override: Override) -> str:
    """The override as it was given."""
    assert override.input_line is not None, "only overrides built by hand have none"
    return override.input_line


def options_of(override: Override) -> list[str]:
    """The values of a sweep, each as text that Hydra reads back."""
    return [str(option) for option in override.sweep_string_iterator()]


def with_quotes(text: str) -> str:
    """The text in quotes, with what Hydra would read in it escaped."""
    return QuotedString(text, Quote.single if '"' in text else Quote.double).with_quotes()
