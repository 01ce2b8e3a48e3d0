"""run.json: where a run's numbers come from, and how far it got."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NotRequired, cast, get_args

from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from dermaexp.runs.schemas import Count, Flag, Text, TextOrNull, check

Status = Literal["running", "finished", "failed", "interrupted"]
STATUSES: tuple[Status, ...] = get_args(Status)


class Split(TypedDict):
    kind: Literal["official", "grouped"]
    folds: NotRequired[Count]  # these three of grouped splits
    fold: NotRequired[Count]
    pool_fingerprint: NotRequired[Text]


class LesionGroups(TypedDict):
    file: Text
    column: Text
    fingerprint: Text


class Data(TypedDict):
    name: Text
    fingerprint: Text
    test_fingerprint: Text
    synthetic: Flag
    split: Split
    groups: NotRequired[LesionGroups]


class Start(TypedDict):
    folder: Text
    arguments: list[Text]


class Device(TypedDict):
    type: Text
    name: Text


class Attempt(TypedDict):
    """How a run was resumed."""

    started: Text
    command: Text
    git_commit: TextOrNull
    code_digest: Text
    own_code: dict[str, Text]
    earlier_device: NotRequired[Device]  # of the epochs before
    earlier_epochs: NotRequired[Count]  # planned before, if this attempt was given others


class RunRecord(TypedDict):
    """run.json: provenance and status. What is not required is added as the run gets to it."""

    schema: Count
    status: Status
    started: Text
    finished: TextOrNull
    command: Text
    git_commit: TextOrNull
    code_digest: Text
    versions: dict[str, Text]
    platform: Text
    error: NotRequired[TextOrNull]
    name: NotRequired[Text]
    start: NotRequired[Start]
    overrides: NotRequired[list[Text]]
    choices: NotRequired[dict[str, TextOrNull]]
    seed: NotRequired[Count]
    config: NotRequired[dict[str, Any]]
    config_digest: NotRequired[Text]
    own_code: NotRequired[dict[str, Text]]
    data: NotRequired[Data]
    device: NotRequired[Device]
    input_size: NotRequired[Count]
    resumed: NotRequired[list[Attempt]]
    trackers: NotRequired[dict[str, Text]]  # by what each knows the run


OF_FINISHED = (  # what a run that failed early may lack
    "name",
    "overrides",
    "choices",
    "seed",
    "config",
    "config_digest",
    "own_code",
    "data",
    "device",
)
OF_GROUPED = ("folds", "fold", "pool_fingerprint")


def checked_record(path: Path, content: dict[str, Any]) -> RunRecord:
    """The `content` of the run.json at `path`; ValueError for the first thing wrong in it.

    UserError for a file of a newer schema.
    """
    check(RunRecord, path, content)
    record = cast(RunRecord, content)
    missing = [key for key in OF_FINISHED if record["status"] == "finished" and key not in record]
    if "data" in record and record["data"]["split"]["kind"] == "grouped":
        split = record["data"]["split"]
        missing += [f"data.split.{key}" for key in OF_GROUPED if key not in split]
    if missing:
        raise ValueError(f"{path.name}: no {missing[0]}")
    return record
