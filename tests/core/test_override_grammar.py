"""dermaexp.core.override_grammar: what it takes from Hydra's undocumented parser is there."""

from __future__ import annotations

import inspect

import hydra
import pytest
from hydra.core.override_parser import overrides_parser, types
from hydra.errors import HydraException, OverrideParseException

from dermaexp.core import override_grammar
from dermaexp.core.override_grammar import IntervalSweep, RangeSweep

HYDRA = f"hydra-core {hydra.__version__}"


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        (overrides_parser.OverridesParser, "create parse_override parse_overrides"),
        (types.QuotedString, "with_quotes"),
        (types.Quote, "single double"),
        (
            types.Override,
            "is_sweep_override is_choice_sweep is_add is_force_add sweep_string_iterator "
            "get_key_element value input_line",
        ),
        (types.RangeSweep, "range"),
    ],
)
def test_hydra_has(owner: type, names: str) -> None:
    missing = [name for name in names.split() if not hasattr(owner, name)]
    assert not missing, f"{owner.__qualname__} of {HYDRA} lacks {missing}"


@pytest.mark.parametrize(
    ("owner", "fields"),
    [
        (types.Override, "key_or_group input_line"),
        (types.ChoiceSweep, "tags"),
        (types.RangeSweep, "tags start step"),
        (types.IntervalSweep, "tags start end"),
    ],
)
def test_hydra_has_the_fields(owner: type, fields: str) -> None:
    missing = set(fields.split()) - set(inspect.signature(owner).parameters)
    assert not missing, f"{owner.__qualname__} of {HYDRA} lacks {sorted(missing)}"


def test_overrides_are_parsed() -> None:
    plain, sweep = override_grammar.parse(["model=cnn", "+optimizer.lr=1e-3,0.1"])
    assert (plain.key_or_group, plain.is_sweep_override()) == ("model", False), HYDRA
    assert (sweep.get_key_element(), sweep.key_or_group) == ("+optimizer.lr", "optimizer.lr"), HYDRA
    assert override_grammar.options_of(sweep) == ["0.001", "0.1"], HYDRA
    assert override_grammar.text_of(sweep) == "+optimizer.lr=1e-3,0.1", HYDRA
    step = override_grammar.parse_one("a=range(0,6,2)").value()
    assert isinstance(step, RangeSweep), HYDRA
    assert (step.start, step.step, list(step.range())) == (0, 2, [0, 2, 4]), HYDRA
    interval = override_grammar.parse_one("a=tag(log,interval(1,2))").value()
    assert isinstance(interval, IntervalSweep), HYDRA
    assert (interval.start, interval.end, interval.tags) == (1, 2, {"log"}), HYDRA


def test_errors_of_the_parser() -> None:
    with pytest.raises(OverrideParseException) as several:
        override_grammar.parse(["x=[1"])
    assert several.value.override == "x=[1", HYDRA
    with pytest.raises(HydraException) as one:
        override_grammar.parse_one("a=range(0,6,2,3,4)")
    assert override_grammar.reason_of(one.value) == "too many positional arguments", HYDRA


@pytest.mark.parametrize("text", ["a b", "it's", 'say "x"', "a\\", "=,#", 'a\\"'])
def test_a_quoted_text_is_read_back(text: str) -> None:
    override = override_grammar.parse_one(f"a={override_grammar.with_quotes(text)}")
    assert override.value() == text, HYDRA
