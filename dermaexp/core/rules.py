"""Rules for config values: types that carry their words, and pydantic's errors as our one line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictFloat,
    StrictInt,
    ValidationError,
    WrapValidator,
    model_validator,
)
from pydantic.fields import FieldInfo

from dermaexp.core.errors import UserError, nearest

Model = TypeVar("Model", bound=BaseModel)

# Strict, for pydantic would else take "3" and true for numbers. NaN fails every bound.
Flag = Annotated[bool, Field(strict=True, description="true or false")]
Count = Annotated[int, Field(strict=True, ge=1, description="a whole number from 1")]
Index = Annotated[int, Field(strict=True, ge=0, description="a whole number from 0")]
Finite = Annotated[float, Field(strict=True, allow_inf_nan=False, description="a number")]
NotNegative = Annotated[Finite, Field(ge=0, description="a number from 0")]
Positive = Annotated[Finite, Field(gt=0, description="a number above 0")]
Share = Annotated[Finite, Field(ge=0, le=1, description="a number from 0 to 1")]
NonEmpty = Annotated[str, Field(strict=True, min_length=1, description="some text")]
# The command line reads 15 as a number.
Text = Annotated[NonEmpty | StrictInt | StrictFloat, Field(description="some text")]

FEW = 4  # choices that a line may list; of more it names the nearest
# Without quotes, the command line reads no text.
NO_TEXT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|true|false|null", re.IGNORECASE)
OURS = ("dermaexp.", "pytorch_lightning.", "torch.")
# On a field for a component: one of the user's own has rules of its own.
UNLESS_OWN = WrapValidator(
    lambda value, check: check(value) if value is None or _is_ours(value) else None
)


class Rules(BaseModel):
    """The base of all rules, which pydantic compiles when they are first used: most never are."""

    model_config = ConfigDict(defer_build=True)


class Component(Rules):
    """The base of a component's rules: another key than its own is a typo, and refused."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _without_hydras_keys(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return {key: value for key, value in values.items() if not str(key).startswith("_")}


def check(model: type[Model], values: Mapping[str, Any], key: str = "") -> Model:
    """Return the `values` of the component at `key` as its `model`.

    Raises UserError, one line for the first value that breaks a rule.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UserError(_line(model, values, key, first["type"], first["loc"])) from None


def rules(model: type[BaseModel], key: str = "") -> Iterator[tuple[str, str]]:
    """Each key of the `model` at `key`, with what it expects in words."""
    for name, field in model.model_fields.items():
        place = f"{key}.{name}" if key else name
        if inner := _model(field):
            yield from rules(inner, place)
        elif expected := _expected(field):
            yield place, expected


def typed(value: Any) -> str:
    """Return a value as the command line takes it, with quotes around a text such as '0.5'."""
    if isinstance(value, str) and NO_TEXT.fullmatch(value):
        return f"'{value}'"
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))


def _line(
    model: type[BaseModel],
    values: Mapping[str, Any],
    key: str,
    problem: str,
    places: tuple[int | str, ...],
) -> str:
    """What is wrong with the value at these `places` in `values`, as pydantic names `problem`."""
    name, *rest = map(str, places)
    place = f"{key}.{name}" if key else name
    if name not in model.model_fields:
        valid = [f"{key}.{name}" if key else name for name in model.model_fields]
        hint = nearest(place, valid) if valid else f"{key} takes none"
        return f"the key {place} is used by nothing: {hint}"
    field = model.model_fields[name]
    inner = _model(field)
    if inner and rest:  # other places are inside a value, such as a number of a list
        return _line(inner, values[name], place, problem, (*rest,))
    given = f"{place}={typed(values[name])}" if name in values else f"{place} is missing"
    if problem == "literal_error" and len(choices := _choices(field.annotation)) > FEW:
        return f"{given} is unknown: {nearest(str(values[name]), choices)}"
    return f"{given}: expected {_expected(field)}"


def _model(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a field that holds a component, or a component or null."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _expected(field: FieldInfo) -> str:
    if inner := _model(field):
        return f"keys such as {', '.join(inner.model_fields)}"
    return field.description or _words(field.annotation)


def _words(kind: Any) -> str:
    """The words of a type, or of each that it may be; null is left out, as it is not typed."""
    if get_origin(kind) is Annotated:
        fields = [part for part in kind.__metadata__ if isinstance(part, FieldInfo)]
        return fields[-1].description or ""
    if get_origin(kind) is Literal:
        *first, last = _choices(kind)
        return f"{', '.join(first)} or {last}"
    return " or ".join(_words(part) for part in get_args(kind) if part is not NoneType)


def _choices(literal: Any) -> list[str]:
    return [str(choice) for choice in get_args(literal)]


def _is_ours(component: Any) -> bool:
    return isinstance(component, Mapping) and str(component.get("_target_")).startswith(OURS)
