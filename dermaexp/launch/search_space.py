"""What a search varies from trial to trial, and the seeds and folds that repeat each trial."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from dermaexp.core.errors import UserError
from dermaexp.launch import validate
from dermaexp.launch.config import data_record, effective, identity
from dermaexp.runs.identity import config_digest

if TYPE_CHECKING:
    from hydra_plugins.dermaexp_search import OptunaSweeper

Space = Mapping[str, BaseDistribution]

REPEATED = ("seed", "dataset.fold")  # swept, they repeat each trial: the best of them is luck
RANGE_DIGITS = 12  # of a range's numbers, so that 0.1 + 0.2 is 0.3


@dataclass(frozen=True)
class Plan:
    """What the trials of a search share, what they vary, and the jobs of each.

    `shared` and each of `repeats`, one a job, are overrides; `places` the seeds and folds of the
    jobs as the command line takes them; `digest` is that of the first alternative's config.
    """

    shared: list[str]
    space: Space
    repeats: list[list[str]]
    places: str
    digest: str

    def jobs(self, values: Mapping[str, Any]) -> list[list[str]]:
        """The overrides of each job of a trial with these values."""
        return [[*self.shared, *as_overrides(values), *repeat] for repeat in self.repeats]


def planned(sweeper: OptunaSweeper, arguments: Sequence[str]) -> Plan:
    """The plan of the search that these arguments describe; UserError where it cannot be run."""
    shared, space, repeats = _split(sweeper, arguments)
    first, *others = ([*shared, *as_overrides(values)] for values in _alternatives(space))
    configs = [composed(sweeper, [*first, *repeat]) for repeat in repeats]
    for config in (*configs, *(composed(sweeper, [*other, *repeats[0]]) for other in others)):
        validate.check(config)
    where = [(config.seed, config.dataset.get("fold") or 0) for config in configs]
    if len(set(where)) < len(where):
        twice = max(where, key=where.count)
        raise UserError(
            f"seed={twice[0]} with fold {twice[1]} would be run twice: give each seed and fold once"
        )
    # Sorted: the order in which seeds are given makes no other search.
    order = sorted(range(len(where)), key=where.__getitem__)
    seeds, folds = (",".join(map(str, sorted(set(values)))) for values in zip(*where, strict=True))
    is_split = configs[0].dataset.get("split") == "grouped"
    return Plan(
        shared,
        space,
        [repeats[index] for index in order],
        f"seed={seeds} dataset.fold={folds}" if is_split else f"seed={seeds}",
        _digest(configs[order[0]]),
    )


def _split(
    sweeper: OptunaSweeper, arguments: Sequence[str]
) -> tuple[list[str], Space, list[list[str]]]:
    """The overrides that all trials share, the space, and the overrides of each job of a trial.

    The space is the config's, then the command line's. A trial has a job for each combination of
    the seeds and folds that the command line sweeps. Of a key that is given again, the last counts,
    as in Hydra's own sweeps.
    """
    parser = OverridesParser.create(config_loader=sweeper.hydra_context.config_loader)
    parsed = parser.parse_overrides(list(arguments))
    given = {override.get_key_element(): override for override in parsed}.values()
    keys = {override.key_or_group for override in given}
    swept = [override for override in given if override.is_sweep_override()]
    searched = [o for o in _of_config(parser, sweeper.space) if o.key_or_group not in keys]
    searched += [o for o in swept if o.key_or_group not in REPEATED]
    if not searched:
        raise UserError(
            "the search's space is empty: give KEY=interval(LOW,HIGH) or KEY=choice(A,B)"
        )
    repeated = [repetitions(o) for o in swept if o.key_or_group in REPEATED]
    return (
        [override.input_line for override in given if not override.is_sweep_override()],
        {override.get_key_element(): distribution(override) for override in searched},
        [list(job) for job in itertools.product(*repeated)],
    )


def _of_config(parser: OverridesParser, space: Mapping[str, Any]) -> Iterator[Override]:
    for key, text in _leaves(space):
        line = f"{key}={text}"
        if key.lstrip("+") in REPEATED:
            raise UserError(
                f"hydra.sweeper.space holds {key}, but a search cannot choose it: give "
                f"{key}=0,1,2 on the command line, and a trial's score is the mean over them"
            )
        try:
            override = parser.parse_override(line)
        except HydraException as error:
            # Without Hydra's "… while evaluating '…': ".
            raise _refused(line, str(error).splitlines()[0].rpartition("': ")[2]) from None
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
    """An override for each value; whether the value is a seed or fold is checked when composed."""
    key = override.get_key_element()
    sweep = override.value()
    is_list = isinstance(sweep, (ChoiceSweep, RangeSweep)) and not sweep.tags
    values = list(override.sweep_string_iterator()) if is_list else []
    if not values:
        raise UserError(
            f"{override.input_line}: expected whole numbers, such as {key}=0,1,2 or "
            f"{key}=range(0,3), over which a trial's score is the mean"
        )
    return [f"{key}={value}" for value in values]


def distribution(override: Override) -> BaseDistribution:
    """Optuna's distribution for one of Hydra's sweeps; a choice is kept as it is written."""
    if override.key_or_group == "name":
        raise _refused(override.input_line, "the name is that of the whole search")
    if override.is_choice_sweep():
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    sweep = override.value()
    if unknown := sweep.tags - {"log"}:
        raise _refused(override.input_line, f"the tag {min(unknown)} is unknown, expected log")
    low, high, step = sweep.start, getattr(sweep, "end", None), None
    if isinstance(sweep, RangeSweep):
        values = sorted(sweep.range())
        if not values:
            raise _refused(override.input_line, "the range is empty")
        low, high = (rounded(value, RANGE_DIGITS) for value in (values[0], values[-1]))
        step = abs(sweep.step)
    whole = isinstance(low, int) and isinstance(high, int)
    try:
        if whole:
            return IntDistribution(low, high, log="log" in sweep.tags, step=step or 1)
        return FloatDistribution(low, high, log="log" in sweep.tags, step=step)
    except ValueError as error:
        raise _refused(override.input_line, str(error)) from None


def _refused(line: str, reason: str) -> UserError:
    return UserError(
        f"{line} cannot be searched ({reason.rstrip('.')}): expected choice(A,B), range(A,B), "
        "interval(A,B), int(interval(A,B)) or tag(log, …) of one of them"
    )


def rounded(value: float, digits: int) -> float:
    """To so many significant digits; a whole number stays as it is."""
    return value if isinstance(value, int) else float(f"{value:.{digits}g}")


def _alternatives(space: Space) -> Iterator[dict[str, Any]]:
    """Values that, together, use every choice and the low end of every range and interval."""
    choices = {
        key: d.choices if isinstance(d, CategoricalDistribution) else (d.low,)
        for key, d in space.items()
    }
    first = {key: values[0] for key, values in choices.items()}
    yield first
    for key, values in choices.items():
        for value in values[1:]:
            yield first | {key: value}


def composed(sweeper: OptunaSweeper, overrides: Sequence[str]) -> DictConfig:
    """The config of a trial with these overrides, as a job gets it; raises Hydra's errors."""
    loader = sweeper.hydra_context.config_loader
    config = loader.load_sweep_config(sweeper.config, list(overrides))
    with read_write(config.hydra), open_dict(config.hydra):  # known to a job only
        config.hydra.job.id = config.hydra.job.num = 0
        config.hydra.runtime.output_dir = "."
    HydraConfig.instance().set_config(config)
    return OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])


def _digest(config: DictConfig) -> str:
    """Equal where all that can change a number is, wherever the data are."""
    return config_digest(identity(effective(config), data_record(config)))


def as_overrides(values: Mapping[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in values.items()]
