"""The keys in --help: their values as composed now, and what they take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig

from dermaexp.core.containers import to_dict

WIDTH = 40  # of KEY=VALUE; what the key takes follows it


def help_keys(*, _root_: DictConfig) -> str:
    """List each key of the config with its value, then those with a rule that it may get.

    A resolver for Hydra's template of --help, in which "$" must be written twice.
    """
    from dermaexp.core.rules import rules, typed
    from dermaexp.launch import validate  # with pydantic, for which --cfg job should not wait

    # What to give instead of the key follows a semicolon.
    takes = {key: words.partition(";")[0] for key, words in rules(validate.rules_for(_root_))}
    given = {
        key: value
        for key, value in _leaves(_root_)
        if key in takes or not key.startswith("callbacks.")  # which are many, with few to change
    }
    lines = [(f"{key}={typed(value)}", takes.get(key, "")) for key, value in given.items()]
    # Callbacks get theirs with the callback, the trainer with a plus.
    more = [key for key in takes if key not in given]
    lines += [(f"+{key}" if key.startswith("trainer.") else key, takes[key]) for key in more]
    return "\n".join(f"{key:{WIDTH}} {words}".rstrip() for key, words in lines).replace("$", "$$")


def _leaves(config: DictConfig) -> Iterator[tuple[str, Any]]:
    """Dotted keys and resolved values, but for Hydra's own and names such as _target_."""
    for name in config:
        value = config[name] if name != "hydra" else {}
        if isinstance(value, DictConfig):
            value = to_dict(value, resolve=True)
        yield from _flat(str(name), value)


def _flat(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        yield key, value
        return
    for name, inner in value.items():
        if not str(name).startswith("_"):
            yield from _flat(f"{key}.{name}", inner)
