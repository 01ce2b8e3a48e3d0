"""JSON files with a type: what their values may be, and the first one that is wrong, in words.

Typed dictionaries: what is read is the very dictionary that was written. mypy checks the keys that
code reads, pydantic the values that a file holds.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Field,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from dermaexp.core.errors import UserError

SCHEMA = 1  # of run.json and metrics.json: raise it when a key changes its meaning
LARGEST = 1e15  # of any number


def _expected(words: str) -> WrapValidator:
    """Report any mismatch of the annotated type as "expected `words`"."""

    def check(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise PydanticCustomError("expected", words) from None

    return WrapValidator(check)


def _different(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("a name stands there twice")
    return names


_NUMBER = Field(gt=-LARGEST, lt=LARGEST, allow_inf_nan=False)
_SHARE = Field(ge=0, le=1, allow_inf_nan=False)
_COUNT = Field(ge=0, lt=LARGEST)
Text = Annotated[str, _expected("text")]
TextOrNull = Annotated[str | None, _expected("text or null")]
Flag = Annotated[bool, _expected("true or false")]
Count = Annotated[int, _COUNT, _expected("a whole number from 0")]
CountOrNull = Annotated[Annotated[int, _COUNT] | None, _expected("a whole number from 0 or null")]
Number = Annotated[float, _NUMBER, _expected("a number")]
NumberOrNull = Annotated[Annotated[float, _NUMBER] | None, _expected("a number or null")]
Share = Annotated[float, _SHARE, _expected("a number from 0 to 1")]
ShareOrNull = Annotated[Annotated[float, _SHARE] | None, _expected("a number from 0 to 1 or null")]
Interval = Annotated[
    list[NumberOrNull], Field(min_length=2, max_length=2), _expected("two numbers")
]
Intervals = dict[str, Interval]
Classes = Annotated[
    list[str], Field(min_length=1), AfterValidator(_different), _expected("different names")
]


def check(kind: type, path: Path, content: Mapping[str, Any]) -> None:
    """Raise ValueError for the first thing in `content` that is not of `kind`.

    UserError for a file of a newer schema, which is not damaged.
    """
    schema = content.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise UserError(
            f"{path} was written by a newer dermaexp (schema {schema}, this one knows {SCHEMA}): "
            "upgrade"
        )
    try:
        _adapter(kind).validate_python(content, strict=True)
    except ValidationError as error:
        raise ValueError(f"{path.name}: {_line(error)}") from None


@functools.cache  # built once, when the first file is read
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _line(error: ValidationError) -> str:
    """The first thing wrong: its key, its value and what was expected."""
    first = error.errors(include_url=False)[0]
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return f"no {key}"
    if first["type"] == "literal_error":
        words = first["ctx"]["expected"].replace("'", "")
    else:
        words = {"dict_type": "an object", "list_type": "a list"}.get(first["type"], first["msg"])
    value = json.dumps(first["input"])
    return f"{key} is {value if len(value) < 40 else f'{value[:39]}…'}, expected {words}"
