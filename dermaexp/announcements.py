"""What the terminal is told of a run: a line when it begins, a table of its numbers at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dermaexp import leak, metrics
from dermaexp.classifier import Classifier
from dermaexp.console import HEADLINES, console, print_summary
from dermaexp.data.datamodule import ImageDataModule
from dermaexp.data.splits import SPLITS, Splits
from dermaexp.operating_points import HIGHLIGHTED


def announce(name: str, data: ImageDataModule, parameters: int, device: str) -> None:
    counts = " / ".join(f"{len(data.splits[split]):,}" for split in SPLITS)
    shape = " x ".join(map(str, data.image_shape))
    console.print(
        f"{name} on {data.splits.title}: {counts} images of {shape}, "
        f"{parameters:,} parameters, on {device}",
        soft_wrap=True,
        markup=False,
    )


def conclude(name: str, splits: Splits, classifier: Classifier, results: Mapping[str, Any]) -> None:
    """Print the table; it says so where only a part of the images was used."""
    baseline = metrics.majority_baseline(
        splits.train.labels, classifier.predictions["test"].targets, len(splits.classes)
    )
    val, test = (
        splits.part(split, len(classifier.predictions[split].targets)) for split in ("val", "test")
    )
    columns = {
        val: results["val"],
        test: results["test"],
        "95 % interval": results["test"]["intervals"],
        "majority baseline, test": baseline,
    }
    labels, notes = HEADLINES, []
    points = results["operating_points"]
    if point := points["classes"].get(HIGHLIGHTED):
        labels = labels | {side: f"{HIGHLIGHTED} {side}" for side in point["val"]}
        level = f"{points['specificity']:.0%}"
        notes.append(f"{HIGHLIGHTED}: at the threshold with {level} specificity on val")
        columns[val] = columns[val] | point["val"]
        columns[test] = columns[test] | point["test"]
        columns["95 % interval"] = columns["95 % interval"] | point["test"]["intervals"]
    epochs = f"{results['epochs']} of {results['planned_epochs']}"
    if results["ended_by"] in ("max_steps", "max_time"):  # which may be inside an epoch
        notes.append(f"ended by trainer.{results['ended_by']} in epoch {epochs}")
    elif results["epochs"] < results["planned_epochs"]:
        notes.append(f"ended after {epochs} epochs")
    if calibration := results.get("calibration"):
        notes.append(_calibration_note(calibration))
    print_summary(name, splits.title, columns, labels, "\n".join(notes))
    leak.show(name, splits.title, results)


def _calibration_note(calibration: Mapping[str, Any]) -> str:
    raw, scaled = (
        calibration["test"][kind]["expected_calibration_error"] for kind in ("raw", "calibrated")
    )
    temperature = f"temperature {calibration['temperature']:.2f}, fitted on val"
    if calibration["at_limit"]:
        temperature += ", a limit of the search: no temperature has the smallest loss"
    return f"calibration error on test: {raw:.3f}; {scaled:.3f} at {temperature}"
