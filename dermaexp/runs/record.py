"""run.json: where a run's numbers come from, and how far it got."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NotRequired, cast, get_args

from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from dermaexp.core.tasks import Task
from dermaexp.runs.schemas import Count, Flag, Share, Text, TextOrNull, check

Status = Literal["running", "finished", "failed", "interrupted", "pruned"]
STATUSES: tuple[Status, ...] = get_args(Status)


class Split(TypedDict):
    kind: Literal["official", "grouped", "random", "corrected"]
    pool_fingerprint: NotRequired[Text]  # of all but official splits
    folds: NotRequired[Count]  # these two of grouped splits
    fold: NotRequired[Count]
    shares: NotRequired[list[Share]]  # these two of random splits: of train, val and test
    split_seed: NotRequired[Count]
    moved: NotRequired[Count]  # of corrected splits: the images that they move to train


class LesionGroups(TypedDict):
    file: Text
    column: Text
    fingerprint: Text


class Data(TypedDict):
    name: Text
    fingerprint: Text
    test_fingerprint: Text
    task: NotRequired[Task]  # since there are others than multi-class ones
    synthetic: Flag
    split: Split
    groups: NotRequired[LesionGroups]
    skipped: NotRequired[list[Text]]  # files and rows left out because of an error, and why


class Start(TypedDict):
    folder: Text
    arguments: list[Text]


class InitialWeights(TypedDict):
    """The file that a model's weights started from."""

    file: Text
    sha256: Text


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
    pruned_after: NotRequired[Count]  # epochs, if a search had pruned the run


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
    pruned_after: NotRequired[Count]  # epochs, of a run with that status
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
    initial_weights: NotRequired[InitialWeights]
    resumed: NotRequired[list[Attempt]]
    trackers: NotRequired[dict[str, Text]]  # by what each knows the run
    replicas: NotRequired[list[Count]]  # seeds of the runs that were trained at once, its own too


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
OF_SPLIT = {  # what each kind of split needs
    "official": (),
    "grouped": ("folds", "fold", "pool_fingerprint"),
    "random": ("shares", "split_seed", "pool_fingerprint"),
    "corrected": ("moved", "pool_fingerprint"),
}


def checked_record(path: Path, content: dict[str, Any]) -> RunRecord:
    """The `content` of the run.json at `path`; ValueError for the first thing wrong in it.

    UserError for a file of a newer schema.
    """
    check(RunRecord, path, content)
    record = cast(RunRecord, content)
    missing = [key for key in OF_FINISHED if record["status"] == "finished" and key not in record]
    if record["status"] == "pruned" and "pruned_after" not in record:
        missing.append("pruned_after")
    if "data" in record:
        split = record["data"]["split"]
        missing += [f"data.split.{key}" for key in OF_SPLIT[split["kind"]] if key not in split]
    if missing:
        raise ValueError(f"{path.name}: no {missing[0]}")
    return record
