"""Types that carry their words, and the one line for a value that breaks a rule."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, create_model

from dermaexp.core import rules
from dermaexp.core.errors import UserError

NUMBERS = [0, 1, -1, 2, 0.0, 0.5, 1.0, 1.5, 1e3, -0.5]
OTHERS = [None, True, False, math.nan, math.inf, -math.inf, "", "1", "true", [], [1], {}, {"a": 1}]


@pytest.mark.parametrize(
    ("kind", "accepted", "words"),
    [
        (rules.Flag, [True, False], "true or false"),
        (rules.Count, [1, 2], "a whole number from 1"),
        (rules.Index, [0, 1, 2], "a whole number from 0"),
        (rules.Finite, NUMBERS, "a number"),
        (rules.Positive, [1, 2, 0.5, 1.0, 1.5, 1e3], "a number above 0"),
        (rules.Share, [0, 1, 0.0, 0.5, 1.0], "a number from 0 to 1"),
        (rules.NonEmpty, ["1", "true"], "some text"),
        (rules.Text, [*NUMBERS, math.nan, math.inf, -math.inf, "1", "true"], "some text"),
        (rules.Count | None, [1, 2, None], "a whole number from 1"),
        (Literal["a", "b", "true"] | None, ["true", None], "a, b or true"),
    ],
)
def test_types_take_nothing_for_something_else(kind: Any, accepted: list, words: str) -> None:
    model = create_model("Model", value=(kind, ...))
    passed = []
    for value in (*NUMBERS, *OTHERS):
        try:
            rules.check(model, {"value": value})
            passed.append(value)
        except UserError as error:
            assert str(error) == f"value={rules.typed(value)}: expected {words}"
    assert sorted(map(repr, passed)) == sorted(map(repr, accepted))


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: rules.Count
    pair: Annotated[tuple[rules.Finite, rules.Positive], Field(description="a pair")] | None = None


class Outer(BaseModel):
    inner: Inner
    own: Annotated[Inner | None, rules.UNLESS_OWN] = None


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({}, "top.inner is missing: expected keys such as size, pair"),
        ({"inner": None}, "top.inner=null: expected keys such as size, pair"),
        ({"inner": {}}, "top.inner.size is missing: expected a whole number from 1"),
        ({"inner": {"size": True}}, "top.inner.size=true: expected a whole number from 1"),
        ({"inner": {"size": "2"}}, "top.inner.size='2': expected a whole number from 1"),
        ({"inner": {"size": "big"}}, "top.inner.size=big: expected a whole number from 1"),
        ({"inner": {"size": 1, "pair": [1, 0]}}, "top.inner.pair=[1, 0]: expected a pair"),
        ({"inner": {"size": 1, "pair": [1]}}, "top.inner.pair=[1]: expected a pair"),
        (
            {"inner": {"size": 1, "sise": 1}},
            "the key top.inner.sise is used by nothing: did you mean 'top.inner.size'?",
        ),
        (
            {"inner": {"size": 1}, "own": {"_target_": "torch.Own", "size": 0}},
            "top.own.size=0: expected a whole number from 1",
        ),
    ],
)
def test_the_line_names_the_key_the_value_and_what_is_expected(values: dict, line: str) -> None:
    with pytest.raises(UserError) as error:
        rules.check(Outer, values, "top")
    assert str(error.value) == line


def test_a_component_of_the_users_own_has_its_own_rules() -> None:
    own = {"_target_": "own.Component", "size": "huge"}
    assert rules.check(Outer, {"inner": {"size": 1}, "own": own}).own is None


def test_each_key_is_listed_with_its_words() -> None:
    assert dict(rules.rules(Outer)) == {
        "inner.size": "a whole number from 1",
        "inner.pair": "a pair",
        "own.size": "a whole number from 1",
        "own.pair": "a pair",
    }
