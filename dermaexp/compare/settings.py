"""What the settings of several runs vary: the columns of their comparison."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from hydra.errors import HydraException

from dermaexp.core.override_grammar import parse_one
from dermaexp.runs.collect import Run
from dermaexp.runs.identity import canonical

TARGET = "_target_"
# Of a dataset, what is done to a source's images. All else, such as a path, says where they are:
# the data's fingerprint stands for it.
PREPARATION = ("grayscale", "normalize", "split", "folds", "fold")


@dataclass
class Varied:
    """Where a key varies: with which `options` of its group, in which `experiments`.

    Where `is_optional`, runs without the key are told from the others by that.
    """

    options: set[str | None]  # such as cnn and ffn; None outside of groups
    experiments: set[str | None]
    is_optional: bool


def varied_keys(runs: Sequence[Run]) -> dict[str, Varied]:
    """What the runs vary, in the config's order: groups' options such as "model", then keys.

    A key inside a group, such as model.hidden, is compared among the runs with the same option
    only; a key inside a component that some of these lack, such as callbacks.mine, among those
    that have it, and the component itself is a key too. What a config derives from another key,
    such as trainer.max_epochs from epochs, is left out unless a command gave it itself. Seed and
    fold never count. Of several experiments the name says what they vary; keys are compared among
    the runs of the same one only.
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
    """Of runs of the same experiment."""
    settings = [setting_values(run) for run in runs]
    components = [_components(run) for run in runs]
    is_same_data = len({run.source_fingerprint for run in runs}) == 1
    every = {path for paths in components for path in paths}
    given = {_key(override) for run in runs for override in run.record["overrides"]}
    choices = {group for run in runs for group in run.record["choices"]}
    varied: dict[str, Varied] = {}
    for key in dict.fromkeys(key for values in settings for key in values):
        group, _, leaf = key.partition(".")
        if is_same_data and group == "dataset" and leaf.partition(".")[0] not in PREPARATION:
            continue  # it may be found in several places
        by_option: dict[str | None, set[str]] = {}
        contents = set()
        parent = key.rpartition(".")[0]
        for run, values, own in zip(runs, settings, components, strict=True):
            if parent in every and parent not in own:
                continue  # that it lacks the component says it
            text = TARGET if key in own else _text(values.get(key))
            by_option.setdefault(_option(run, key), set()).add(text)
            contents.add(_text(run.record["config"].get(key)))
        options = {option for option, texts in by_option.items() if len(texts) > 1}
        # Options may differ in what changes no number, as callbacks do: then they do not count.
        if options and ("." in key or len(contents) > 1):
            # A component goes by what the command line named it by.
            name = f"{key}.{TARGET}" if f"{key}.{TARGET}" in given else key
            is_optional = key in every or (
                key in given and key not in choices and parent not in every
            )
            varied[name] = Varied(options, {_experiment(runs[0])}, is_optional)
    names = [key for key in varied if key in given or not _is_derived(key, varied, settings)]
    return {key: varied[key] for key in sorted(names, key=lambda key: key not in choices)}


def varied_settings(run: Run, keys: Mapping[str, Varied]) -> dict[str, Any]:
    """The run's values of `keys` from `varied_keys`, of those that vary with its own options.

    None of a key that others have and that tells them from this run.
    """
    values = setting_values(run)
    return {
        key: values.get(key)
        for key, where in keys.items()
        if _option(run, key) in where.options
        and (key in values or (where.is_optional and _experiment(run) in where.experiments))
    }


def settings_of(run: Run) -> dict[str, Any]:
    """The config without what tells replicates apart: the seed, and a cross-validation's fold."""
    config = {key: node for key, node in run.record["config"].items() if key != "seed"}
    dataset = config.get("dataset")
    if isinstance(dataset, Mapping) and "split" in dataset:  # else a source's own idea of a fold
        config["dataset"] = {key: value for key, value in dataset.items() if key != "fold"}
    return config


def identity_of(run: Run) -> dict[str, Any]:
    """The same without what says where the data are: equal for runs of one configuration."""
    config = settings_of(run)
    dataset = config.get("dataset")
    if isinstance(dataset, Mapping):
        config["dataset"] = {key: dataset[key] for key in PREPARATION if key in dataset}
    return canonical(config)


def setting_values(run: Run) -> dict[str, Any]:
    """Option of each group and value of each key of the config, lists whole; no seed, no fold.

    A component inside a group, such as callbacks.ema, has the name of its class.
    """
    flat = {}
    if experiment := _experiment(run):
        flat["experiment"] = experiment
    components = _components(run)

    def flatten(prefix: str, node: Any) -> None:
        if prefix in components:
            flat[prefix] = str(node[TARGET]).rpartition(".")[2]
        if isinstance(node, Mapping):
            for key, child in node.items():
                flatten(f"{prefix}.{key}", child)
        else:
            flat[prefix] = node

    for key, node in settings_of(run).items():
        if option := chosen_option(run, key):
            flat[key] = option
        flatten(key, node)
    return flat


def chosen_option(run: Run, group: str) -> str | None:
    """The group's option, such as cnn; None where `group` is none, or its option not known.

    Hydra names no option that is a list: it is the one that was given, such as [default,ema].
    """
    choices = run.record["choices"]
    if group not in choices or choices[group]:
        return choices.get(group)
    given = [override for override in run.record["overrides"] if _key(override) == group]
    return _list_option(given[-1]) if given else None


@cache
def _list_option(override: str) -> str | None:
    """The override's value without blanks and quotes, such as [default,ema]."""
    try:
        options = parse_one(override).value()
    except HydraException:
        return None
    return f"[{','.join(map(str, options))}]" if isinstance(options, list) else None


def value_text(value: Any) -> str:
    """A setting as the command line would take it: true, null, 0.001, [512, 128], relu."""
    return value if isinstance(value, str) else json.dumps(value)


def settings_text(settings: Mapping[str, Any]) -> str:
    """Settings as the command line would take them: model=cnn optimizer.lr=0.001."""
    return " ".join(f"{key}={value_text(value)}" for key, value in settings.items())


def _components(run: Run) -> set[str]:
    """Keys inside groups whose values are built from a class, such as callbacks.ema."""
    found = set()

    def look(prefix: str, node: Any) -> None:
        if isinstance(node, Mapping):
            if "." in prefix and TARGET in node:
                found.add(prefix)
            for key, child in node.items():
                look(f"{prefix}.{key}", child)

    for key, node in settings_of(run).items():
        look(key, node)
    return found


def _experiment(run: Run) -> str | None:
    return run.record["choices"].get("experiment")


def _option(run: Run, key: str) -> str | None:
    """The option of the group that `key` is inside of."""
    group, dot, _ = key.partition(".")
    return chosen_option(run, group) if dot else None


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _is_derived(key: str, varied: Iterable[str], settings: Sequence[Mapping[str, Any]]) -> bool:
    """Whether it always has the value of another key that stands before it in the config."""
    having = [values for values in settings if key in values]
    earlier = itertools.takewhile(lambda other: other != key, varied)
    return any(all(v.get(other) == v[key] for v in having) for other in earlier)
