"""metrics.json: the final numbers of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NotRequired, cast

from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from dermaexp.runs.record import Data
from dermaexp.runs.schemas import (
    Classes,
    Count,
    CountOrNull,
    Flag,
    Interval,
    Intervals,
    Number,
    NumberOrNull,
    Share,
    ShareOrNull,
    Text,
    TextOrNull,
    check,
)


class ClassNumbers(TypedDict):
    samples: Count
    recall: NumberOrNull
    precision: NumberOrNull
    f1: NumberOrNull
    auroc: NumberOrNull
    average_precision: NumberOrNull
    sensitivity_at_95_specificity: NumberOrNull
    intervals: Intervals


class SplitNumbers(TypedDict):
    loss: NumberOrNull
    accuracy: Share
    balanced_accuracy: Share
    macro_auroc: ShareOrNull  # undefined where one class alone has images
    macro_f1: Share
    expected_calibration_error: NumberOrNull
    intervals: Intervals
    per_class: dict[str, ClassNumbers]
    confusion_matrix: list[list[Count]]  # row = true class


class LeakNumbers(SplitNumbers):
    samples: Count
    class_shares: dict[str, Number]


class Sides(TypedDict):
    sensitivity: NumberOrNull
    specificity: NumberOrNull


class SideIntervals(TypedDict):
    sensitivity: Interval
    specificity: Interval


class SidesOfTest(Sides):
    intervals: SideIntervals


class OperatingPoint(TypedDict):
    threshold: NumberOrNull
    val: Sides
    test: SidesOfTest


class OperatingPoints(TypedDict):
    specificity: Number
    classes: dict[str, OperatingPoint]


class Losses(TypedDict):
    loss: NumberOrNull
    expected_calibration_error: NumberOrNull


class RawAndCalibrated(TypedDict):
    raw: Losses
    calibrated: Losses


class Calibration(TypedDict):
    temperature: Number
    at_limit: Flag
    val: RawAndCalibrated
    test: RawAndCalibrated


class Samples(TypedDict):
    train: Count
    val: Count
    test: Count


class UsedData(Data):
    size: NotRequired[Count | list[Count]]  # of a side, or height and width
    channels: NotRequired[Count]
    classes: Classes
    samples: Samples


class Model(TypedDict):
    name: Text
    parameters: Count


class Seconds(TypedDict):
    data: Number
    fit: Number
    test: Number
    total: Number


class Metrics(TypedDict):
    """metrics.json: the final numbers, written when all of them are known."""

    schema: Count
    data: UsedData
    model: Model
    val: SplitNumbers
    test: SplitNumbers
    test_clean: NotRequired[LeakNumbers | None]  # null where it has no image
    test_leaked: NotRequired[LeakNumbers | None]
    majority_class: Text
    operating_points: OperatingPoints
    calibration: NotRequired[Calibration]
    tested_with: Literal["best", "last"]
    best_epoch: CountOrNull
    epochs: Count
    planned_epochs: Count
    ended_by: TextOrNull
    seconds: Seconds


def checked_metrics(path: Path, content: dict[str, Any]) -> Metrics:
    """The `content` of the metrics.json at `path`; ValueError for the first thing wrong in it.

    UserError for a file of a newer schema.
    """
    check(Metrics, path, content)
    numbers = cast(Metrics, content)
    if wrong := _inconsistent(numbers):
        raise ValueError(f"{path.name}: {wrong}")
    return numbers


def _inconsistent(numbers: Metrics) -> str:
    """Where one part does not fit another; "" if all do."""
    classes = numbers["data"]["classes"]
    if numbers["majority_class"] not in classes:
        return "majority_class is none of the classes"
    if set(numbers["operating_points"]["classes"]) != set(numbers["test"]["per_class"]):
        return "operating_points.classes are not those of test.per_class"
    leak = "test_clean" in numbers, "test_leaked" in numbers
    if any(leak) and not all((*leak, "groups" in numbers["data"])):
        return "test_clean and test_leaked lack each other or data.groups"
    parts: Mapping[str, Any] = numbers
    for split in ("val", "test", "test_clean", "test_leaked"):
        if parts.get(split) is None:
            continue
        matrix = parts[split]["confusion_matrix"]
        if [len(row) for row in matrix] != [len(classes)] * len(classes):
            return f"{split}.confusion_matrix is not one of {len(classes)} classes"
        if not sum(map(sum, matrix)):
            return f"{split}.confusion_matrix has no image"
    return ""
