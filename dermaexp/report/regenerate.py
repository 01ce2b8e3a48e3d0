"""The figures of a run, regenerated from its directory: no torch here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from dermaexp.core import lean_imports
from dermaexp.core.containers import to_dict
from dermaexp.core.errors import UserError, one_line
from dermaexp.report.page import record_of
from dermaexp.report.stored_run import StoredRun
from dermaexp.runs.directory import RunDirectory

CALLBACK = "dermaexp.report.callbacks.DrawFigure"
GROUPS = ("dataset", "trainer", "callbacks")  # that are read here and for a figure's data
KEYS = ("_target_", "figure")  # the others are options of the figure


def regenerate(directory: RunDirectory) -> list[str]:
    """Plot and write again the figures that the run's config asked for.

    Returns a line for those that are not, with the reason, such as data that have changed since.
    Raises UserError for a folder without a run.
    """
    record = record_of(directory)
    if "data" not in record or "name" not in record:  # a run that failed before it could plot
        return []
    try:
        config = config_of(directory)
        asked = dict(figures_of(config))
    except (UserError, ValueError) as error:
        return [f"no figure is regenerated: {one_line(error)}"]
    if not asked:
        return []
    run = StoredRun(directory, record, config)
    lean_imports.import_sklearn()
    from dermaexp.report import figures  # with Matplotlib, which takes a second to import
    from dermaexp.report.style import write_figure

    foreign = {figure.stem for figure in directory.foreign_figures()}
    failed: dict[str, list[str]] = {}  # why -> figures
    for name, options in asked.items():
        try:
            file = figures.file_stem(name)
            if file in foreign:
                raise UserError("another program wrote that file")
            figures.check(name, options)
            write_figure(directory.path, file, figures.plot(name, run, options))
        except (UserError, ValueError) as error:
            failed.setdefault(str(error), []).append(name)
    return [f"not regenerated: {', '.join(names)}: {why}" for why, names in failed.items()]


def figures_of(config: DictConfig) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each figure that a callback of `config` plots, with its options."""
    for callback in (config.callbacks or {}).values():
        if isinstance(callback, DictConfig) and callback.get("_target_") == CALLBACK:
            options = to_dict(callback, resolve=True)
            figure = str(options.get("figure"))
            yield figure, {str(key): options[key] for key in options if key not in KEYS}


def config_of(directory: RunDirectory) -> DictConfig:
    """Return the config of a run as Hydra recorded it; UserError if it is missing or damaged."""
    file = directory.path / ".hydra" / "config.yaml"
    if not file.exists():
        raise UserError(f"{file} is missing")
    try:
        config = OmegaConf.load(file)
    except (OSError, ValueError, YAMLError) as error:
        raise UserError(f"{file} cannot be read: {one_line(error)}") from error
    if not isinstance(config, DictConfig):
        raise UserError(f"{file} is no config")
    for group in GROUPS:
        if not isinstance(config.get(group), DictConfig):
            raise UserError(f"{file} is damaged: the config group {group} has no keys")
    return config
