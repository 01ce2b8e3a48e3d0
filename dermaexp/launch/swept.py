"""Keys that only the swept options have, as in `-m experiment=quick,strong model.width=32`.

Hydra first composes a sweep's config with the default option of each swept config group, and would
refuse such a key.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import lru_cache

from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from dermaexp.core.errors import UserError
from dermaexp.core.override_grammar import Override, options_of, parse, text_of

EXPERIMENT = "experiment"  # its options may have any key

# The overrides that `__main__` keeps from Hydra until a sweep starts.
left: list[str] = []


def deferred(overrides: Sequence[str]) -> list[str]:
    """The overrides of a sweep that Hydra can compose only with a job's options."""
    try:
        given = parse(overrides)
    except HydraException:  # Hydra reports it
        return []
    groups = _swept_groups(given)
    return [text for one, text in zip(given, overrides, strict=True) if _relevant(one, groups)]


def check(config: DictConfig, overrides: Sequence[Override]) -> None:
    """Raise UserError for a key that only some of the swept options have, naming these options.

    Also for an experiment that asks for another launcher or sweeper than the sweep's. `config` is
    the sweep's, composed with the default options.
    """
    groups = _swept_groups(overrides)
    shared = [
        text_of(one)
        for one in overrides
        if not one.is_sweep_override() and not _relevant(one, groups)
    ]

    @lru_cache
    def composed(*options: str) -> DictConfig:
        loader = GlobalHydra.instance().config_loader()
        return loader.load_sweep_config(config, [*shared, *options])

    for one in overrides:
        relevant = _relevant(one, groups)
        if not relevant or one.is_add() or one.is_force_add():
            continue
        key = one.key_or_group
        owned = {options: _has(composed(*options), key) for options in _combinations(relevant)}
        if len(set(owned.values())) == 2:
            owners, others = (
                " | ".join(" ".join(options) for options, has in owned.items() if has is wanted)
                for wanted in (True, False)
            )
            raise UserError(
                f"the key {key} is one of {owners}, not of {others}: sweep over those that have it"
            )
    if EXPERIMENT in groups:
        for (option,) in _combinations([groups[EXPERIMENT]]):
            _check_launcher(config, composed(option), option)


def _check_launcher(sweep: DictConfig, job: DictConfig, option: str) -> None:
    for part in ("launcher", "sweeper"):
        own, used = (OmegaConf.to_container(one.hydra[part], resolve=False) for one in (job, sweep))
        if own != used:
            choice = job.hydra.runtime.choices[f"hydra/{part}"]
            raise UserError(
                f"{option} sets hydra.{part} (hydra/{part}={choice}), which has no effect where "
                f"experiments are swept: give hydra/{part}={choice} with its keys in the command"
            )


def _swept_groups(overrides: Sequence[Override]) -> dict[str, Override]:
    return {o.key_or_group: o for o in overrides if _is_group(o) and o.is_sweep_override()}


def _is_group(override: Override) -> bool:
    from dermaexp.launch import validate  # with pydantic, for which --cfg job should not wait

    name = override.key_or_group
    return name in validate.GROUPS or name == EXPERIMENT


def _relevant(override: Override, groups: dict[str, Override]) -> list[Override]:
    """The swept config groups whose options may have the override's key."""
    group, dot, _ = override.key_or_group.partition(".")
    if not dot or group == "hydra":
        return []
    return [groups[name] for name in (EXPERIMENT, group) if name in groups]


def _combinations(groups: Sequence[Override]) -> Iterator[tuple[str, ...]]:
    """Every combination of the config groups' options, as overrides."""
    options = [
        [f"{group.key_or_group}={option}" for option in options_of(group)] for group in groups
    ]
    yield from itertools.product(*options)


def _has(config: DictConfig, key: str) -> bool:
    """Whether the config has the key, even if its value is missing or null."""
    parent, _, leaf = key.rpartition(".")
    try:
        node = OmegaConf.select(config, parent)
    except Exception:  # such as an interpolation that only a job can resolve
        return True
    return isinstance(node, DictConfig) and leaf in list(node)
