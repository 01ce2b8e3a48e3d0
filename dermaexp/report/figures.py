"""The figures of a run: when each is plotted, with which options, and from what.

A run plots them by a Lightning callback, `callbacks.DrawFigure`; `regenerate.regenerate` plots the
same ones from the run directory.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from hydra.utils import get_method
from matplotlib.figure import Figure
from pydantic import BaseModel
from sklearn.metrics import confusion_matrix, multilabel_confusion_matrix

from dermaexp.core import rules
from dermaexp.core.errors import UserError, nearest, one_line
from dermaexp.data.mapped import Held
from dermaexp.metrics import calibration, multilabel
from dermaexp.metrics.labels import answers
from dermaexp.metrics.operating_points import HIGHLIGHTED, operating_points
from dermaexp.report import curve_plots, label_plots, plots
from dermaexp.report.config import MisclassifiedConfig, MontageConfig, NoOptions, ReliabilityConfig
from dermaexp.report.run_data import RunData

Moment = Literal["fit_start", "fit_end", "test_end"]
Plot = functools.partial[Figure]  # another process can call it


class RunFigure(NamedTuple):
    """When a run plots a figure, how, and the options that `prepare` takes by name."""

    moment: Moment
    prepare: Callable[..., Plot]  # of RunData
    options: type[BaseModel] = NoOptions


def plot(figure: str, run: RunData, options: Mapping[str, Any]) -> Figure:
    """Plot the `figure` with its `options` from the data of `run`."""
    return prepared(figure, run, options)()


def prepared(figure: str, run: RunData, options: Mapping[str, Any]) -> Plot:
    """Return what plots the `figure`: of FIGURES, it holds all data that it needs of `run`."""
    return figure_of(figure).prepare(run, **options)


def check(figure: str, options: Mapping[str, Any]) -> None:
    """Raise UserError for an unknown figure, or for options that it does not take."""
    found, place = figure_of(figure), f"callbacks.{file_stem(figure)}"
    if is_own(figure):
        try:
            inspect.signature(found.prepare(None).func).bind(None, **options)
        except TypeError as error:
            raise UserError(f"{place}: {figure} does not take these keys: {error}") from error
        return
    model = found.options
    for key in options:
        if key not in model.model_fields:
            hint = nearest(key, model.model_fields) if model.model_fields else "it takes none"
            raise UserError(f"{place} has no key {key}: {hint}")
    rules.check(model, options, place)


def figure_of(figure: str) -> RunFigure:
    """Return one of FIGURES, or the function of that dotted name, plotted at the end of test.

    Raises UserError for a figure that is unknown, or has the name of another one's file.
    """
    if not is_own(figure):
        if figure not in FIGURES:
            raise UserError(f"the figure {figure} is unknown: {nearest(str(figure), FIGURES)}")
        return FIGURES[figure]
    if file_stem(figure) in FIGURES:
        raise UserError(f"{figure} would overwrite the figure {file_stem(figure)}: rename it")
    try:
        return RunFigure("test_end", functools.partial(functools.partial, get_method(figure)))
    except Exception as error:
        raise UserError(f"the figure {figure} cannot be imported: {one_line(error)}") from error


def is_own(figure: str) -> bool:
    """Whether the figure is a function of one's own, and not one of FIGURES."""
    return "." in str(figure)


def file_stem(figure: str) -> str:
    """Return the name of the figure's file."""
    return str(figure).rpartition(".")[2]


def _montage(run: RunData, *, columns: int) -> Plot:
    labels, title = run.train_labels, f"{run.data_title}: training images"
    shown = plots.of_each_class(labels, len(run.classes), columns)
    images = Held(run.train_images, np.concatenate(shown))
    return Plot(plots.montage, images, labels, run.classes, columns=columns, title=title)


def _learning_curves(run: RunData) -> Plot:
    return Plot(plots.learning_curves, run.history, title=_title(run))


def _confusion_matrix(run: RunData) -> Plot:
    title = _test_title(run)
    if run.test.targets.ndim == 2:
        tables = multilabel_confusion_matrix(run.test.targets, answers(run.test.probabilities))
        return Plot(label_plots.label_tables, tables, run.classes, title=title)
    return Plot(plots.confusion_matrix, _test_confusion(run), run.classes, title=title)


def _per_class_accuracy(run: RunData) -> Plot:
    title = _test_title(run)
    if run.test.targets.ndim == 2:
        numbers = {
            **multilabel.headline_scores(*run.test),
            "per_class": multilabel.per_label(*run.test, run.classes),
        }
        return Plot(label_plots.label_scores, numbers, len(run.test.targets), title=title)
    return Plot(plots.per_class_accuracy, _test_confusion(run), run.classes, title=title)


def _roc_curves(run: RunData) -> Plot:
    points = operating_points(run.val, run.test, run.classes)["classes"]
    marked = {
        name: (point["test"]["sensitivity"], point["test"]["specificity"])
        for name, point in points.items()
        if name == HIGHLIGHTED
    }
    title = _test_title(run)
    return Plot(curve_plots.roc_curves, *run.test, run.classes, marked=marked, title=title)


def _precision_recall_curves(run: RunData) -> Plot:
    title = _test_title(run)
    return Plot(curve_plots.precision_recall_curves, *run.test, run.classes, title=title)


def _reliability(run: RunData, *, calibrate: bool) -> Plot:
    y_scores = {"raw": run.test.probabilities}
    if calibrate:
        temperature, at_limit = calibration.fit_temperature(*run.val)
        found = "no optimum on val" if at_limit else "calibrated on val"
        several = run.test.targets.ndim == 2
        scaled = calibration.calibrated(run.test.probabilities, temperature, several=several)
        y_scores[f"{found}, T = {temperature:.2f}"] = scaled
    return Plot(curve_plots.reliability, run.test.targets, y_scores, title=_test_title(run))


def _misclassified(run: RunData, *, count: int) -> Plot:
    images, title = run.test_images, _test_title(run)
    _, shown = plots.most_confident_mistakes(*run.test, count)
    shown_images = Held(images, shown)
    return Plot(plots.misclassified, shown_images, *run.test, run.classes, count=count, title=title)


FIGURES = {
    "learning_curves": RunFigure("fit_end", _learning_curves),
    "confusion_matrix": RunFigure("test_end", _confusion_matrix),
    "per_class_accuracy": RunFigure("test_end", _per_class_accuracy),
    "roc_curves": RunFigure("test_end", _roc_curves),
    "precision_recall_curves": RunFigure("test_end", _precision_recall_curves),
    "reliability": RunFigure("test_end", _reliability, ReliabilityConfig),
    "misclassified": RunFigure("test_end", _misclassified, MisclassifiedConfig),
    "montage": RunFigure("fit_start", _montage, MontageConfig),
}


def _title(run: RunData) -> str:
    return f"{run.name} on {run.data_title}"


def _test_title(run: RunData) -> str:
    return f"{_title(run)}, {run.test_part}"


def _test_confusion(run: RunData) -> np.ndarray:
    """Return the counts (K, K) of test, a row a true class."""
    targets, probabilities = run.test
    labels = range(probabilities.shape[1])
    return confusion_matrix(targets, probabilities.argmax(axis=1), labels=labels)
