"""The summary of a run in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from rich.box import HEAVY_HEAD

from dermaexp.core.console import console, print_table
from dermaexp.core.grid import Grid
from dermaexp.core.tasks import task_of
from dermaexp.core.text import percent
from dermaexp.data.splits import Splits
from dermaexp.metrics.baseline import baseline_of
from dermaexp.metrics.leak import TEST_PARTS
from dermaexp.metrics.names import HEADLINES, headlines, labels_of
from dermaexp.metrics.operating_points import HIGHLIGHTED
from dermaexp.report.leak import columns, reading

INTERVAL = "95 % interval"  # the heading of a column


def conclude(name: str, splits: Splits, results: Mapping[str, Any]) -> None:
    """Print the numbers of metrics.json; headings say so if only a part of the images was used."""
    val, test = (splits.part(split, results["data"]["samples"][split]) for split in ("val", "test"))
    columns = {
        val: results["val"],
        test: results["test"],
        INTERVAL: results["test"]["intervals"],
        "majority baseline, test": baseline_of(results).scores,
    }
    rows, notes = labels_of(*headlines(task_of(results["data"]))), []
    if found := highlighted(results["operating_points"], val, test):
        rows, notes = rows | found.labels, [found.note]
        columns = found.beside(columns)
    if task_of(results["data"]) == "multi-label":
        notes.append("accuracy: the share of all labels of all images, at a probability of 0.5")
    epochs = f"{results['epochs']} of {results['planned_epochs']}"
    if results["ended_by"] in ("max_steps", "max_time"):  # which may be inside an epoch
        notes.append(f"ended by trainer.{results['ended_by']} in epoch {epochs}")
    elif results["epochs"] < results["planned_epochs"]:
        notes.append(f"ended after {epochs} epochs")
    if calibration := results.get("calibration"):
        notes.append(_calibration_note(calibration))
    print_scores(f"{name} on {splits.title}", columns, rows, "\n".join(notes))
    _show_leak(name, splits.title, results)


class Highlighted(NamedTuple):
    """Rows on the operating point of the class that must not be missed."""

    labels: dict[str, str]
    columns: dict[str | None, dict[str, Any]]  # by heading
    note: str

    def beside(self, columns: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
        """Return the columns with the values of these rows."""
        return {name: {**own, **self.columns.get(name, {})} for name, own in columns.items()}


def highlighted(points: Mapping[str, Any], val: str | None, test: str) -> Highlighted | None:
    """Return the rows for columns headed `val`, if there is one, `test` and "95 % interval".

    None without that class, or without images of it in val.
    """
    point = points["classes"].get(HIGHLIGHTED)
    if not point or point["val"]["sensitivity"] is None:
        return None
    # Sides of their own: two classes have a sensitivity at 0.5, too.
    sides = {side: f"{HIGHLIGHTED} {side}" for side in point["val"]}
    by_heading = {val: point["val"], test: point["test"], INTERVAL: point["test"]["intervals"]}
    level = percent(points["specificity"], 0)
    return Highlighted(
        {name: name for name in sides.values()},
        {
            heading: {name: own[side] for side, name in sides.items()}
            for heading, own in by_heading.items()
        },
        f"{HIGHLIGHTED}: at the threshold with {level} specificity on val",
    )


def _calibration_note(calibration: Mapping[str, Any]) -> str:
    raw, scaled = (
        calibration["test"][kind]["expected_calibration_error"] for kind in ("raw", "calibrated")
    )
    temperature = f"temperature {calibration['temperature']:.2f}, fitted on val"
    if calibration["at_limit"]:
        temperature += ", a limit of the search: no temperature minimises the loss"
    return f"calibration error on test: {raw:.3f}; {scaled:.3f} at {temperature}"


def _show_leak(name: str, data: str, numbers: Mapping[str, Any]) -> None:
    """Print clean and leaked test numbers if the run has them, or that one part is empty."""
    if text := reading(numbers):
        if all(numbers[half] for half in TEST_PARTS):
            title = f"{name} on {data}, test in two parts"
            print_scores(title, columns(numbers), labels_of(*HEADLINES), text)
        else:
            console.print(text, soft_wrap=True, markup=False)


def print_scores(
    title: str, columns: Mapping[str, Mapping[str, Any]], labels: Mapping[str, str], note: str
) -> None:
    """Print a row for each of `labels` and a column for each heading and its scores."""
    grid = Grid.of_scores("", labels, columns.items())
    print_table(title, grid, box=HEAVY_HEAD, note=note, undefined="undefined")
