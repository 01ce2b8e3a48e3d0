"""Figures of many run groups show what was given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import CONFUSION, LESIONS, history, make_sweep, texts
from matplotlib.backends.backend_agg import RendererAgg

from dermaexp.compare import figures, plots
from dermaexp.compare.comparison import comparison_of
from dermaexp.compare.plots import Line
from dermaexp.metrics import classification


@pytest.mark.slow
def test_group_curves_show_every_group_in_one_picture() -> None:
    histories = {f"group {k}": [history(k + 2, best=1)] for k in range(4)}
    figure = plots.group_curves(histories, title="All groups on Data")
    assert len(figure.axes) == 3
    for axes in figure.axes:
        assert [len(line.get_xdata()) for line in axes.lines] == [2, 3, 4, 5]
        assert not axes.collections, "one run has no band"
    assert {"group 0", "group 1", "group 2", "group 3", "val macro AUROC"} <= set(texts(figure))
    many = {f"group {k}": [history(2, best=1)] for k in range(30)}
    figure = plots.group_curves(many, title="All groups")
    assert "All groups (the best 20 by name)" in texts(figure)
    assert len(figure.axes[0].lines) == 30
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(many)[:20]


def test_group_curves_are_means_with_a_band_from_lowest_to_highest() -> None:
    seeds = [
        [row | {"val_loss": row["val_loss"] + shift} for row in history(epochs, best=1)]
        for shift, epochs in ((0.0, 5), (0.1, 3), (0.5, 4))
    ]
    loss = plots.group_curves({"cnn": seeds}, title="").axes[1]
    (line,) = loss.lines
    assert line.get_xdata() == pytest.approx([1, 2, 3]), "as far as every seed went"
    assert line.get_ydata() == pytest.approx(np.array([2.0, 1.0, 2 / 3]) + 0.2)
    (band,) = loss.collections
    (outline,) = band.get_paths()
    assert outline.vertices[:, 1].min() == pytest.approx(2 / 3)
    assert outline.vertices[:, 1].max() == pytest.approx(2.5)


def test_group_accuracies_are_dots_with_their_intervals() -> None:
    accuracies = {"cnn": [0.7, 0.8], "ffn $x^$": [0.6], "mlp": [0.5, 0.5]}
    intervals = {"cnn": (0.65, 0.85), "ffn $x^$": (0.55, 0.66), "mlp": (np.nan, np.nan)}
    figure = plots.group_accuracies(accuracies, intervals, {"always a": 0.62}, title="Test on Data")
    (axes,) = figure.axes
    (segments,) = axes.collections
    drawn = [segment[:, 0].tolist() for segment in segments.get_segments()]
    assert drawn == [[0.65, 0.85], [0.55, 0.66]], "none where it is undefined"
    baseline, means, seeds = axes.lines
    assert list(baseline.get_xdata()) == [0.62, 0.62]
    assert means.get_xdata() == pytest.approx([0.75, 0.6, 0.5])
    drawn = [(0.7, 0), (0.8, 0), (0.5, 2), (0.5, 2)]
    assert list(zip(seeds.get_xdata(), seeds.get_ydata(), strict=True)) == drawn
    words = texts(figure)
    for text in ("75.0 % [65.0 %, 85.0 %]", "50.0 %", "always a: 62.0 %", "ffn $x^$", "one seed"):
        assert text in words
    assert axes.get_ylim()[0] > axes.get_ylim()[1], "the best on top"


def test_class_accuracies_are_a_heatmap_with_each_class_s_images() -> None:
    recalls = {"cnn": classification.recalls(CONFUSION), "ffn": np.array([0.5, np.nan, 1.0])}
    figure = plots.class_accuracies(recalls, CONFUSION.sum(axis=1), LESIONS, title="")
    (axes,) = figure.axes
    shown = [text.get_text() for text in axes.texts]
    assert shown == ["60.0", "75.0", "96.7", "50.0", "100.0"], "an undefined one is left out"
    assert {f"{LESIONS[0]} n = 10", "melanoma n = 40"} <= set(texts(figure))


def test_a_figure_of_many_rows_has_one_canvas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each text that asked for its size got a canvas of its own: 12 GB with 200 run groups."""
    made = []
    create = RendererAgg.__init__
    monkeypatch.setattr(RendererAgg, "__init__", lambda *args: made.append(1) or create(*args))
    recalls = {f"group {index}": np.full(3, 0.5) for index in range(24)}
    plots.class_accuracies(recalls, np.ones(3, int), LESIONS, title="").draw_without_rendering()
    assert len(made) == 1


def test_figures_with_a_row_for_each_run_group_show_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "MOST_ROWS", 2)
    comparison = comparison_of([make_sweep(tmp_path)])
    (table,) = comparison.tables
    intervals = {group.label: group.accuracy_interval() for group in table.groups}
    found = {
        one.name: one.figure
        for one in figures.captioned_figures(table, intervals, comparison.varied)
    }
    for name in ("test_accuracy", "per_class_accuracy"):
        labels = [label.get_text() for label in found[name].axes[0].get_yticklabels()]
        assert labels == ["model=cnn", "model=ffn"]
        assert any(text.endswith(" (the best 2 of 3 by val)") for text in texts(found[name]))


@pytest.mark.parametrize("classes", [2, 11])
def test_every_class_is_named_however_many(classes: int) -> None:
    names = [f"class {index} & <b> $x^$" for index in range(classes)]
    recalls = {f"group {index}": np.full(classes, 0.5) for index in range(24)}
    figure = plots.class_accuracies(recalls, np.ones(classes, int), names, title="")
    assert {f"{name} n = 1" for name in names} <= set(texts(figure))


def test_confusion_matrices_stand_side_by_side() -> None:
    empty = np.array([[3, 1, 0], [0, 0, 0], [1, 0, 5]])
    figure = plots.confusion_matrices({"cnn": CONFUSION, "ffn": empty}, LESIONS, title="")
    cnn, ffn = figure.axes
    assert [text.get_text().split("\n") for text in cnn.texts][:4] == [
        ["60 %", "6"],
        ["20 %", "2"],
        ["20 %", "2"],
        ["2 %", "1"],
    ]
    assert [text.get_text().split("\n")[1] for text in ffn.texts] == ["3", "1", "0", "1", "0", "5"]
    assert {"cnn", "ffn"} <= set(texts(figure))


def line(values: list, label: str = "") -> Line:
    scores = [[0.1 * index, 0.1 * index + 0.2] for index in range(len(values))]
    return Line(label, values, {"val macro AUROC": scores, "test accuracy": scores})


def test_effects_join_means_and_show_every_seed() -> None:
    lines = [line([0.1, 0.001], "model=cnn"), line([0.01], "model=ffn")]
    figure = plots.effects({"lr": lines}, title="Effect on Data")
    for axes in figure.axes:
        assert axes.get_xscale() == "log"
        first, _, _, second, _ = axes.lines
        assert list(first.get_xdata()) == [0.001, 0.1], "in the order of the values"
        assert first.get_ydata() == pytest.approx([0.2, 0.1])
        assert list(second.get_xdata()) == [0.01]
    assert {"0.001", "0.01", "0.1", "model=cnn", "model=ffn", "lr"} <= set(texts(figure))


@pytest.mark.parametrize(
    ("values", "scale", "ticks"),
    [
        ([1, 2, 3], "linear", ["1", "2", "3"]),
        ([0, 100], "linear", ["0", "100"]),
        ([True, False], "linear", ["false", "true"]),
        (["relu", "$<&>", None], "linear", ["$<&>", "null", "relu"]),
        ([[64, 32], 0.5], "linear", ["0.5", "[64, 32]"]),
    ],
)
def test_config_values_stand_on_an_axis_of_their_kind(
    values: list, scale: str, ticks: list
) -> None:
    axes = plots.effects({"key": [line(values)]}, title="").axes[0]
    assert axes.get_xscale() == scale
    axes.figure.draw_without_rendering()
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ticks
    assert axes.get_legend() is None


def test_powers_on_a_logarithmic_axis_are_plain_numbers() -> None:
    values = [float(value) for value in np.geomspace(1e-4, 1e-2, 20)]
    figure = plots.effects({"lr": [line(values)]}, title="")
    words = texts(figure)
    assert "0.001" in words
    assert not any("$" in text for text in words)


def test_undefined_scores_are_named() -> None:
    undefined = Line("", [1, 2], {"val macro AUROC": [[np.nan], [np.nan]]})
    assert "undefined" in texts(plots.effects({"epochs": [undefined]}, title=""))
