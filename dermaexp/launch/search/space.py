"""What a search varies: Hydra's sweeps as Optuna's distributions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hydra.errors import HydraException
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from dermaexp.core.errors import UserError
from dermaexp.core.override_grammar import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    RangeSweep,
    options_of,
    parse_one,
    reason_of,
    text_of,
)

Space = dict[str, BaseDistribution]

REPEATED = ("seed", "dataset.fold")  # swept, they repeat each trial: the best of them is luck
DIGITS = 6  # of a number from an interval, which stands in folder names and tables
RANGE_DIGITS = 12  # of a number from a range, so that 0.1 + 0.2 is 0.3


def sweeps_of(space: Mapping[str, Any]) -> Iterator[Override]:
    """The sweeps of hydra.sweeper.space; UserError for what cannot be searched."""
    for key, text in _leaves(space):
        line = f"{key}={text}"
        if key.lstrip("+") in REPEATED:
            raise UserError(
                f"hydra.sweeper.space holds {key}, but a search cannot choose it: give "
                f"{key}=0,1,2 on the command line, and a trial's score is the mean over them"
            )
        try:
            override = parse_one(line)
        except HydraException as error:
            raise _refused(line, reason_of(error)) from None
        if not override.is_sweep_override():
            raise _refused(line, "it is one value")
        yield override


def _leaves(space: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values: +hydra.sweeper.space.optimizer.lr=… makes a mapping in a mapping."""
    for key, value in space.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def repetitions(override: Override) -> list[str]:
    """An override for each seed or fold that the sweep lists; their values are not checked."""
    key = override.get_key_element()
    sweep = override.value()
    is_list = isinstance(sweep, (ChoiceSweep, RangeSweep)) and not sweep.tags
    values = options_of(override) if is_list else []
    if not values:
        raise UserError(
            f"{text_of(override)}: expected whole numbers, such as {key}=0,1,2 or "
            f"{key}=range(0,3), over which a trial's score is the mean"
        )
    return [f"{key}={value}" for value in values]


def distribution(override: Override) -> BaseDistribution:
    """Optuna's distribution for one of Hydra's sweeps; a choice is kept as it is written."""
    line = text_of(override)
    if override.key_or_group == "name":
        raise _refused(line, "the name is that of the whole search")
    sweep = override.value()
    if not isinstance(sweep, (IntervalSweep, RangeSweep)):
        return CategoricalDistribution(options_of(override))
    if unknown := sweep.tags - {"log"}:
        raise _refused(line, f"the tag {min(unknown)} is unknown, expected log")
    low, high, step = _ends_and_step(sweep, line)
    log = "log" in sweep.tags
    try:
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log=log, step=int(step or 1))
        return FloatDistribution(low, high, log=log, step=step)
    except ValueError as error:
        raise _refused(line, str(error)) from None


def _ends_and_step(
    sweep: IntervalSweep | RangeSweep, line: str
) -> tuple[float, float, float | None]:
    if isinstance(sweep, IntervalSweep):
        assert sweep.start is not None and sweep.end is not None
        return sweep.start, sweep.end, None
    values = sorted(sweep.range())
    if not values:
        raise _refused(line, "the range is empty")
    return rounded(values[0], RANGE_DIGITS), rounded(values[-1], RANGE_DIGITS), abs(sweep.step)


def _refused(line: str, reason: str) -> UserError:
    return UserError(
        f"{line} cannot be searched ({reason.rstrip('.')}): expected choice(A,B), range(A,B), "
        "interval(A,B), int(interval(A,B)) or tag(log, …) of one of them"
    )


def rounded(value: float, digits: int) -> float:
    """To so many significant digits; a whole number stays as it is."""
    return value if isinstance(value, int) else float(f"{value:.{digits}g}")


def short(value: Any, distribution: BaseDistribution) -> Any:
    """The value with few digits, still inside the distribution."""
    if not isinstance(distribution, FloatDistribution):
        return value
    few = rounded(value, RANGE_DIGITS if distribution.step else DIGITS)
    return min(max(few, distribution.low), distribution.high)


def alternatives(space: Space) -> Iterator[dict[str, Any]]:
    """Values that, together, use every choice and the low end of every range and interval."""
    choices = {key: _extremes(one) for key, one in space.items()}
    first = {key: values[0] for key, values in choices.items()}
    yield first
    for key, values in choices.items():
        for value in values[1:]:
            yield first | {key: value}


def _extremes(distribution: BaseDistribution) -> tuple[Any, ...]:
    if isinstance(distribution, CategoricalDistribution):
        return tuple(distribution.choices)
    assert isinstance(distribution, (IntDistribution, FloatDistribution))
    return (distribution.low,)


def as_overrides(values: Mapping[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in values.items()]
