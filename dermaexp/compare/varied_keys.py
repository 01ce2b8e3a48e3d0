"""Which config keys several runs vary: the columns of their comparison."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from dermaexp.runs.collect import Run
from dermaexp.runs.identity import canonical

TARGET = "_target_"
# Keys of a dataset that say how images are prepared. Others, such as a path, say where they are:
# the data's fingerprint identifies those.
PREPARATION = ("grayscale", "normalize", "split", "folds", "fold")
_text = json.JSONEncoder(sort_keys=True).encode  # dumps would make an encoder for each value


@dataclass
class Varied:
    """Where a key varies: with which `options` of its config group, in which `experiments`.

    If `is_optional`, lacking the key distinguishes a run from the others.
    """

    options: set[str | None]  # such as cnn and ffn; None outside config groups
    experiments: set[str | None]
    is_optional: bool


def varied_keys(runs: Sequence[Run]) -> dict[str, Varied]:
    """The keys that the runs vary, in the config's order: config groups such as "model" first.

    A key inside a config group, such as model.hidden, is compared only among runs with the same
    option. A key inside a component that some of these lack, such as callbacks.mine, is compared
    among those that have it, and the component itself is a key too. Keys whose value follows from
    another key, such as trainer.max_epochs from epochs, are left out unless a command gave them.
    Seed and fold never count. Runs of several experiments vary "experiment"; other keys are
    compared only among runs of the same one.
    """
    by_experiment: dict[str | None, list[Run]] = {}
    for run in runs:
        by_experiment.setdefault(_experiment(run), []).append(run)
    varied: dict[str, Varied] = {}
    if len(by_experiment) > 1:
        varied["experiment"] = Varied({None}, set(by_experiment), False)
    for same in by_experiment.values():
        for key, own in _varied_keys(same).items():
            if key in varied:
                varied[key].options |= own.options
                varied[key].experiments |= own.experiments
                varied[key].is_optional |= own.is_optional
            else:
                varied[key] = own
    return varied


def _varied_keys(runs: Sequence[Run]) -> dict[str, Varied]:
    """`varied_keys` of runs of the same experiment."""
    flattened = [_flattened(run) for run in runs]
    configs = [values for values, _ in flattened]
    components = [own for _, own in flattened]
    is_same_data = len({run.source_fingerprint for run in runs}) == 1
    every = {path for paths in components for path in paths}
    given = {_key(override) for run in runs for override in run.record["overrides"]}
    choices = {group for run in runs for group in run.record["choices"]}
    varied: dict[str, Varied] = {}
    for key in dict.fromkeys(key for values in configs for key in values):
        group, _, leaf = key.partition(".")
        if is_same_data and group == "dataset" and leaf.partition(".")[0] not in PREPARATION:
            continue  # the same data may lie in several places
        by_option: dict[str | None, set[str]] = {}
        contents = set()
        parent = key.rpartition(".")[0]
        for run, values, own in zip(runs, configs, components, strict=True):
            if parent in every and parent not in own:
                continue  # the component itself is the key that distinguishes this run
            text = TARGET if key in own else _text(values.get(key))
            by_option.setdefault(_option(run, key), set()).add(text)
            if not parent:
                contents.add(_text(run.record["config"].get(key)))
        options = {option for option, texts in by_option.items() if len(texts) > 1}
        # Options that differ only in what changes no number, as callbacks may, do not count.
        if options and (parent or len(contents) > 1):
            # A component has the name that the command line gave it.
            name = f"{key}.{TARGET}" if f"{key}.{TARGET}" in given else key
            is_optional = key in every or (
                key in given and key not in choices and parent not in every
            )
            varied[name] = Varied(options, {_experiment(runs[0])}, is_optional)
    names = [key for key in varied if key in given or not _is_derived(key, varied, configs)]
    return {key: varied[key] for key in sorted(names, key=lambda key: key not in choices)}


def varied_values(run: Run, keys: Mapping[str, Varied]) -> dict[str, Any]:
    """The run's values of those `keys` from `varied_keys` that vary with its own options.

    A key that this run lacks and that distinguishes it from the others has the value None.
    """
    values = config_values(run)
    return {
        key: values.get(key)
        for key, where in keys.items()
        if _option(run, key) in where.options
        and (key in values or (where.is_optional and _experiment(run) in where.experiments))
    }


def shared_config(run: Run) -> dict[str, Any]:
    """The config without seed and, in cross-validation, fold: what a run group's runs share."""
    config = {key: node for key, node in run.record["config"].items() if key != "seed"}
    dataset = config.get("dataset")
    # Without "split", "fold" is a key of the source.
    if isinstance(dataset, Mapping) and "split" in dataset:
        config["dataset"] = {key: value for key, value in dataset.items() if key != "fold"}
    return config


def group_config(run: Run) -> dict[str, Any]:
    """`shared_config` without the data's location: equal for all runs of a run group."""
    config = shared_config(run)
    dataset = config.get("dataset")
    if isinstance(dataset, Mapping):
        config["dataset"] = {key: dataset[key] for key in PREPARATION if key in dataset}
    if initial := run.record.get("initial_weights"):  # other content in the same file
        config["initial_weights"] = initial["sha256"]
    return canonical(config)


def config_values(run: Run) -> dict[str, Any]:
    """Options of config groups and values of keys, without seed and fold; lists stay whole.

    The value of a component inside a config group, such as callbacks.ema, is its class's name.
    """
    values, _ = _flattened(run)
    return values


def _flattened(run: Run) -> tuple[dict[str, Any], set[str]]:
    """`config_values`, and the keys of the components inside config groups."""
    flat: dict[str, Any] = {}
    components = set()
    if experiment := _experiment(run):
        flat["experiment"] = experiment
    for top, branch in shared_config(run).items():
        if option := chosen_option(run, top):
            flat[top] = option
        for key, node in _nodes(top, branch):
            if not isinstance(node, dict):
                flat[key] = node
            elif TARGET in node and "." in key:
                components.add(key)
                flat[key] = str(node[TARGET]).rpartition(".")[2]
    # A config leaves out a group that it need not have, such as finetune=none.
    left_out = (group for group in run.record["choices"] if group not in flat)
    flat |= {group: option for group in left_out if (option := chosen_option(run, group))}
    return flat, components


def chosen_option(run: Run, group: str) -> str | None:
    """The option of config group `group`, such as cnn; None if it is unknown or no group.

    Hydra records no option that is a list: it is taken from the overrides, such as [default,ema].
    """
    choices = run.record["choices"]
    if group not in choices or choices[group]:
        return choices.get(group)
    given = [override for override in run.record["overrides"] if _key(override) == group]
    return _list_option(given[-1]) if given else None


@cache
def _list_option(override: str) -> str | None:
    """The override's list without blanks and quotes, such as [default,ema]; None for no list."""
    from hydra.errors import HydraException  # few runs need them

    from dermaexp.core.override_grammar import parse_one

    try:
        options = parse_one(override).value()
    except HydraException:
        return None
    return f"[{','.join(map(str, options))}]" if isinstance(options, list) else None


def value_text(value: Any) -> str:
    """A value as the command line takes it: true, null, 0.001, [512, 128], relu."""
    return value if isinstance(value, str) else json.dumps(value)


def overrides_text(values: Mapping[str, Any]) -> str:
    """Values of keys as the command line takes them: model=cnn optimizer.lr=0.001."""
    return " ".join(f"{key}={value_text(value)}" for key, value in values.items())


def _nodes(key: str, node: Any) -> Iterator[tuple[str, Any]]:
    """`node` of the config with its `key`, and then all nodes below it."""
    yield key, node
    if isinstance(node, dict):  # of a JSON file
        for name, child in node.items():
            yield from _nodes(f"{key}.{name}", child)


def _experiment(run: Run) -> str | None:
    return run.record["choices"].get("experiment")


def _option(run: Run, key: str) -> str | None:
    """The option of the config group that holds `key`."""
    group, dot, _ = key.partition(".")
    return chosen_option(run, group) if dot else None


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _is_derived(key: str, varied: Iterable[str], configs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the key always equals another one that precedes it in the config."""
    having = [values for values in configs if key in values]
    earlier = itertools.takewhile(lambda other: other != key, varied)
    return any(all(v.get(other) == v[key] for v in having) for other in earlier)
