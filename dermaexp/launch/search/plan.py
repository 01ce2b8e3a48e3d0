"""The plan of a search: what its trials share and vary, and the seeds and folds of each trial."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dermaexp.core.errors import UserError
from dermaexp.core.override_grammar import Override, parse, text_of
from dermaexp.launch import validate
from dermaexp.launch.identity import data_record, effective, identity
from dermaexp.launch.initial_weights import initial_weights_or_none
from dermaexp.launch.search.composer import Composer
from dermaexp.launch.search.space import (
    REPEATED,
    Space,
    alternatives,
    as_overrides,
    distribution,
    repetitions,
    sweeps_of,
)
from dermaexp.runs.identity import config_digest


@dataclass(frozen=True)
class Plan:
    """What the trials of a search share and vary, and the jobs of each.

    `shared` and each of `repeats`, one a job, are overrides; `places` are the seeds and folds of
    the jobs as the command line takes them; `digest` is that of the first alternative's config, and
    `data` the name of its data, empty if they cannot be loaded.
    """

    shared: list[str]
    space: Space
    repeats: list[list[str]]
    places: str
    digest: str
    data: str

    def jobs(self, values: Mapping[str, Any]) -> list[list[str]]:
        """The overrides of each job of a trial with these values."""
        return [[*self.shared, *as_overrides(values), *repeat] for repeat in self.repeats]


def planned(composer: Composer, space: Mapping[str, Any], arguments: Sequence[str]) -> Plan:
    """The plan of a search of the config's `space` and these arguments.

    Raises UserError where it cannot be run.
    """
    given = _last_of_each_key(parse(arguments, composer.loader))
    shared = [text_of(override) for override in given if not override.is_sweep_override()]
    searched = _space(space, given)
    repeats = _repeats(given)
    first, *others = ([*shared, *as_overrides(values)] for values in alternatives(searched))
    configs = [composer.trial([*first, *repeat]) for repeat in repeats]
    for config in (*configs, *(composer.trial([*other, *repeats[0]]) for other in others)):
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
    first_config = configs[order[0]]
    data = data_record(first_config)
    return Plan(
        shared,
        searched,
        [repeats[index] for index in order],
        f"seed={seeds} dataset.fold={folds}" if is_split else f"seed={seeds}",
        # Equal where all that can change a number is equal, wherever the data are.
        config_digest(
            identity(effective(first_config), data, initial_weights_or_none(first_config))
        ),
        data["name"] if data else "",
    )


def _last_of_each_key(overrides: Sequence[Override]) -> list[Override]:
    """As in Hydra's own sweeps, the last override of a key counts."""
    return list({override.get_key_element(): override for override in overrides}.values())


def _space(space: Mapping[str, Any], given: Sequence[Override]) -> Space:
    """The config's space without the keys that the command line gives, and what that sweeps."""
    keys = {override.key_or_group for override in given}
    searched = [sweep for sweep in sweeps_of(space) if sweep.key_or_group not in keys]
    searched += [o for o in given if o.is_sweep_override() and o.key_or_group not in REPEATED]
    if not searched:
        raise UserError(
            "the search's space is empty: give KEY=interval(LOW,HIGH) or KEY=choice(A,B)"
        )
    return {sweep.get_key_element(): distribution(sweep) for sweep in searched}


def _repeats(given: Sequence[Override]) -> list[list[str]]:
    """The overrides of each job of a trial: every combination of the seeds and folds swept."""
    swept = [o for o in given if o.is_sweep_override() and o.key_or_group in REPEATED]
    return [list(job) for job in itertools.product(*map(repetitions, swept))]
