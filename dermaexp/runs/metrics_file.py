"""metrics.json: the final numbers of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NotRequired, cast

from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from dermaexp.core.tasks import task_of
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
    specificity: NotRequired[NumberOrNull]  # of a label among several an image
    auroc: NumberOrNull
    average_precision: NumberOrNull
    sensitivity_at_95_specificity: NumberOrNull
    intervals: Intervals


class SplitNumbers(TypedDict):
    loss: NumberOrNull
    accuracy: Share
    balanced_accuracy: ShareOrNull  # these three are undefined where one class alone has images
    macro_auroc: ShareOrNull
    macro_f1: ShareOrNull
    expected_calibration_error: NumberOrNull
    intervals: Intervals
    per_class: dict[str, ClassNumbers]
    confusion_matrix: NotRequired[list[list[Count]]]  # row = true class
    # These of several labels an image:
    confusion_matrices: NotRequired[list[list[list[Count]]]]  # of each label, absent and present
    baseline: NotRequired[dict[str, NumberOrNull]]
    baseline_p: NotRequired[Number]
    subset_accuracy: NotRequired[Share]
    macro_average_precision: NotRequired[ShareOrNull]
    # These of ordinal classes:
    quadratic_weighted_kappa: NotRequired[NumberOrNull]
    mean_absolute_error: NotRequired[Number]
    # These of two classes, the second being the one to find:
    sensitivity: NotRequired[ShareOrNull]
    specificity: NotRequired[ShareOrNull]


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
    majority_class: NotRequired[Text]
    majority_labels: NotRequired[list[Text]]  # in its place, of several labels an image
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
    several = task_of(numbers["data"]) == "multi-label"
    majority = "majority_labels" if several else "majority_class"
    if majority not in numbers:
        return f"no {majority}"
    if several and not set(numbers["majority_labels"]) <= set(classes):
        return "majority_labels are not all among the labels"
    if not several and numbers["majority_class"] not in classes:
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
        wrong = _wrong_tables if several else _wrong_matrix
        if found := wrong(parts[split], len(classes)):
            return f"{split}.{found}"
    return ""


def _wrong_matrix(numbers: Mapping[str, Any], classes: int) -> str:
    if "confusion_matrix" not in numbers:
        return "confusion_matrix is missing"
    matrix = numbers["confusion_matrix"]
    if [len(row) for row in matrix] != [classes] * classes:
        return f"confusion_matrix is not one of {classes} classes"
    return "" if sum(map(sum, matrix)) else "confusion_matrix has no image"


def _wrong_tables(numbers: Mapping[str, Any], labels: int) -> str:
    for key in ("confusion_matrices", "baseline", "baseline_p"):
        if key not in numbers:
            return f"{key} is missing"
    tables = numbers["confusion_matrices"]
    if [[len(row) for row in table] for table in tables] != [[2, 2]] * labels:
        return f"confusion_matrices are not {labels} tables of 2 by 2"
    images = {sum(map(sum, table)) for table in tables}
    return "" if len(images) == 1 and all(images) else "confusion_matrices differ in images"
