"""What run.json and metrics.json hold, and what in one is not as it should be, in words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from dermaexp.runs.directory import STATUSES


class Is(NamedTuple):
    """What a value must fulfil, and the same in words."""

    holds: Callable[[Any], bool]
    words: str


class Each(NamedTuple):
    """A list, or an object with any keys, whose items all have one shape."""

    kind: type
    item: Any


LARGEST = 1e15  # of any number


def _or_null(shape: Is) -> Is:
    return Is(lambda value: value is None or shape.holds(value), f"{shape.words} or null")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < LARGEST  # so is no NaN


TEXT = Is(lambda value: isinstance(value, str), "text")
FLAG = Is(lambda value: isinstance(value, bool), "true or false")
COUNT = Is(lambda value: type(value) is int and 0 <= value < LARGEST, "a whole number from 0")
NUMBER = Is(_is_number, "a number")
SCORE = _or_null(NUMBER)
SHARE = Is(lambda value: _is_number(value) and 0 <= value <= 1, "a number from 0 to 1")
INTERVAL = Is(
    lambda value: (
        isinstance(value, list) and len(value) == 2 and all(map(_or_null(NUMBER).holds, value))
    ),
    "two numbers",
)
STATUS = Is(
    lambda value: value in STATUSES,
    "running, finished, failed or interrupted",
)
TESTED_WITH = Is(lambda value: value in ("best", "last"), "best or last")
CLASSES = Is(
    lambda value: (
        isinstance(value, list)
        and len(value) > 0
        and all(isinstance(name, str) for name in value)
        and len(set(value)) == len(value)
    ),
    "different names",
)

DATA = {
    "name": TEXT,
    "fingerprint": TEXT,
    "test_fingerprint": TEXT,
    "synthetic": FLAG,
    "split": {"kind": TEXT, "folds": COUNT, "fold": COUNT, "pool_fingerprint": TEXT},
    "groups": {"column": TEXT, "fingerprint": TEXT},
}
ATTEMPT = {"started": TEXT, "code_digest": TEXT, "git_commit": _or_null(TEXT)}
# What a resumption writes as null where the older version that began the run did not know it.
FROM_START = (
    "started",
    "command",
    "git_commit",
    "code_digest",
    "own_code",
    "versions",
    "platform",
)
RUN = {
    "status": STATUS,
    "name": TEXT,
    "started": TEXT,
    "finished": _or_null(TEXT),
    "error": _or_null(TEXT),
    "command": TEXT,
    "overrides": Each(list, TEXT),
    "choices": Each(dict, _or_null(TEXT)),
    "config": {},
    "config_digest": TEXT,
    "seed": COUNT,
    "data": DATA,
    "code_digest": TEXT,
    "git_commit": TEXT,
    "versions": Each(dict, _or_null(TEXT)),
    "own_code": Each(dict, TEXT),
    "start": {"folder": TEXT, "arguments": Each(list, TEXT)},
    "platform": TEXT,
    "device": {"type": TEXT, "name": TEXT},
    "resumed": Each(list, ATTEMPT),
}
HEADLINES = ("accuracy", "balanced_accuracy", "macro_auroc", "macro_f1")
OF_CLASS = ("recall", "precision", "f1", "auroc", "average_precision")
SPLIT = {
    **dict.fromkeys((*HEADLINES, "majority_accuracy"), SHARE),
    "macro_auroc": _or_null(SHARE),  # undefined where one class alone has images
    **dict.fromkeys(("loss", "expected_calibration_error"), SCORE),
    "confusion_matrix": Each(list, Each(list, COUNT)),
    "intervals": Each(dict, INTERVAL),
    "per_class": Each(
        dict,
        {"samples": COUNT, "intervals": Each(dict, INTERVAL)}
        | dict.fromkeys((*OF_CLASS, "sensitivity_at_95_specificity"), SCORE),
    ),
}
PART = SPLIT | {"samples": COUNT, "class_shares": Each(dict, NUMBER)}  # of test
SIDES = {"sensitivity": SCORE, "specificity": SCORE, "intervals": Each(dict, INTERVAL)}
METRICS = {
    "data": {"classes": CLASSES, "samples": Each(dict, COUNT), "groups": {"column": TEXT}},
    "model": {"name": TEXT, "parameters": COUNT},
    "val": SPLIT,
    "test": SPLIT,
    "majority_class": TEXT,
    "operating_points": {
        "specificity": NUMBER,
        "classes": Each(dict, {"threshold": SCORE, "val": SIDES, "test": SIDES}),
    },
    "tested_with": TESTED_WITH,
    "best_epoch": _or_null(COUNT),
    "epochs": COUNT,
    "planned_epochs": COUNT,
    "seconds": Each(dict, NUMBER),
    "calibration": {
        "temperature": NUMBER,
        "at_limit": FLAG,
        **dict.fromkeys(("val", "test"), Each(dict, Each(dict, SCORE))),
    },
}


def known(record: Mapping[str, Any]) -> dict[str, Any]:
    """The content of run.json without what is not known of the run's start."""
    return {
        key: value for key, value in record.items() if value is not None or key not in FROM_START
    }


def wrong_run(record: Mapping[str, Any]) -> str:
    """What in the content of run.json has not the type that it should, or nothing."""
    return _not_text(record) or _wrong(record, RUN)


def wrong_metrics(numbers: Mapping[str, Any]) -> str:
    """The same of metrics.json."""
    found = _not_text(numbers) or _wrong(numbers, METRICS)
    for half in ("test_clean", "test_leaked"):  # null where it has no image
        if not found and numbers.get(half) is not None:
            found = _wrong(numbers[half], PART, half)
    return found or _unlike_classes(numbers)


def lacking(content: Mapping[str, Any], needed: Iterable[str]) -> list[str]:
    """Which of the `needed` keys, such as data.classes, are not there."""

    def is_there(key: str) -> bool:
        node: Any = content
        for part in key.split("."):
            if not isinstance(node, Mapping) or part not in node:
                return False
            node = node[part]
        return True

    return [key for key in needed if not is_there(key)]


def _unlike_classes(numbers: Mapping[str, Any]) -> str:
    """Where what stands for each class is not there for each class."""
    classes = numbers.get("data", {}).get("classes", [])
    if numbers.get("majority_class", classes and classes[0]) not in (classes or [[]]):
        return "majority_class is none of the classes"
    for split in ("val", "test", "test_clean", "test_leaked"):
        matrix = (numbers.get(split) or {}).get("confusion_matrix")
        if matrix is None:
            continue
        if [len(row) for row in matrix] != [len(classes)] * len(classes):
            return f"{split}.confusion_matrix is not one of {len(classes)} classes"
        if not sum(map(sum, matrix)):
            return f"{split}.confusion_matrix has no image"
    return ""


def _wrong(value: Any, shape: Any, key: str = "") -> str:
    """The first thing in `value` that has not its `shape`, in words; keys may be missing."""
    if isinstance(shape, Is):
        return "" if shape.holds(value) else _mismatch(key, value, shape.words)
    kind = shape.kind if isinstance(shape, Each) else dict
    if not isinstance(value, kind):
        return _mismatch(key, value, "a list" if kind is list else "an object")
    if isinstance(shape, Each):
        items = value.items() if kind is dict else enumerate(value)
        parts = ((name, item, shape.item) for name, item in items)
    else:
        parts = ((name, value[name], own) for name, own in shape.items() if name in value)
    found = (_wrong(item, own, f"{key}.{name}".lstrip(".")) for name, item, own in parts)
    return next(filter(None, found), "")


def _mismatch(key: str, value: Any, expected: str) -> str:
    text = json.dumps(value)
    return f"{key} is {text if len(text) < 40 else f'{text[:39]}…'}, expected {expected}"


def _not_text(content: Mapping[str, Any]) -> str:
    """Where JSON has half of a character, which no file can hold."""
    try:
        json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "a text in it is no Unicode"
    return ""
