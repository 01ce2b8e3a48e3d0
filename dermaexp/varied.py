"""What the settings of several runs vary: the columns of their comparison."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dermaexp.runs import Run

Options = set[str | None]  # of a config group, such as cnn and ffn; None outside of groups


def varied_keys(runs: Sequence[Run]) -> dict[str, Options]:
    """What the runs vary, in the config's order: groups' options such as "model", then keys.

    Gives to each key the options with which it varies: a key inside a group, such as model.hidden,
    is compared among the runs with the same option only. What a config derives from another key,
    such as trainer.max_epochs from epochs, is left out unless a command gave it itself. Seed and
    fold never count. Of several experiments the name says what they vary; keys are compared among
    the runs of the same one only.
    """
    by_experiment: dict[str | None, list[Run]] = {}
    for run in runs:
        by_experiment.setdefault(run.record["choices"].get("experiment"), []).append(run)
    varied: dict[str, Options] = {"experiment": {None}} if len(by_experiment) > 1 else {}
    for same in by_experiment.values():
        for key, options in _varied_keys(same).items():
            varied[key] = varied.get(key, set()) | options
    return varied


def _varied_keys(runs: Sequence[Run]) -> dict[str, Options]:
    settings = [setting_values(run) for run in runs]
    varied: dict[str, Options] = {}
    for key in dict.fromkeys(key for values in settings for key in values):
        by_option: dict[str | None, set[str]] = {}
        contents = set()
        for run, values in zip(runs, settings, strict=True):
            by_option.setdefault(_option(run, key), set()).add(_text(values.get(key)))
            contents.add(_text(run.record["config"].get(key)))
        options = {option for option, texts in by_option.items() if len(texts) > 1}
        # Options may differ in what changes no number, as callbacks do: then they do not count.
        if options and ("." in key or len(contents) > 1):
            varied[key] = options
    given = {o.partition("=")[0].lstrip("+") for run in runs for o in run.record["overrides"]}
    names = [key for key in varied if key in given or not _is_derived(key, varied, settings)]
    choices = {group for run in runs for group in run.record["choices"]}
    return {key: varied[key] for key in sorted(names, key=lambda key: key not in choices)}


def varied_settings(run: Run, keys: Mapping[str, Options]) -> dict[str, Any]:
    """The run's values of `keys` from `varied_keys`, of those that vary with its own options."""
    values = setting_values(run)
    return {
        key: values[key]
        for key, options in keys.items()
        if key in values and _option(run, key) in options
    }


def settings_of(run: Run) -> dict[str, Any]:
    """The config without what tells replicates apart: the seed, and a cross-validation's fold."""
    config = {key: node for key, node in run.record["config"].items() if key != "seed"}
    dataset = config.get("dataset")
    if isinstance(dataset, Mapping) and "split" in dataset:  # else a source's own idea of a fold
        config["dataset"] = {key: value for key, value in dataset.items() if key != "fold"}
    return config


def setting_values(run: Run) -> dict[str, Any]:
    """Option of each group and value of each key of the config, lists whole; no seed, no fold."""
    flat = {}
    if experiment := run.record["choices"].get("experiment"):
        flat["experiment"] = experiment

    def flatten(prefix: str, node: Any) -> None:
        if isinstance(node, Mapping):
            for key, child in node.items():
                flatten(f"{prefix}.{key}", child)
        else:
            flat[prefix] = node

    for key, node in settings_of(run).items():
        if key in run.record["choices"]:
            flat[key] = run.record["choices"][key]
        flatten(key, node)
    return flat


def value_text(value: Any) -> str:
    """A setting as the command line would take it: true, null, 0.001, [512, 128], relu."""
    return value if isinstance(value, str) else json.dumps(value)


def settings_text(settings: Mapping[str, Any]) -> str:
    """Settings as the command line would take them: model=cnn optimizer.lr=0.001."""
    return " ".join(f"{key}={value_text(value)}" for key, value in settings.items())


def _option(run: Run, key: str) -> str | None:
    """The option of the group that `key` is inside of."""
    group, dot, _ = key.partition(".")
    return run.record["choices"].get(group) if dot else None


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _is_derived(key: str, varied: Iterable[str], settings: Sequence[Mapping[str, Any]]) -> bool:
    """Whether it always has the value of another key that stands before it in the config."""
    having = [values for values in settings if key in values]
    earlier = itertools.takewhile(lambda other: other != key, varied)
    return any(all(v.get(other) == v[key] for v in having) for other in earlier)
