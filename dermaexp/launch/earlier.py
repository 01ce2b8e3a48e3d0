"""An earlier attempt in a run directory: whether it is the same run, and can be resumed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from dermaexp.core.errors import UserError
from dermaexp.core.overrides import command
from dermaexp.launch.identity import data_record, effective, identity
from dermaexp.launch.initial_weights import initial_weights_or_none
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.identity import config_digest

if TYPE_CHECKING:
    from dermaexp.runs.record import RunRecord

RESUMPTION = ("started", "command", "git_commit", "code_digest", "own_code")
FROM_START = (
    *RESUMPTION,
    "versions",
    "platform",
    "input_size",
    "initial_weights",
    "trackers",
    "replicas",
)


def check_same_run(
    config: DictConfig,
    directory: RunDirectory,
    earlier: RunRecord,
    *,
    in_sweep: bool,
    longer: bool = False,
) -> None:
    """Raise UserError where this run must not touch the `earlier` one of `directory`.

    `longer` allows another number of epochs.
    """
    if not (in_sweep or config.resume):
        raise already_there(directory)
    if "config" not in earlier or "data" not in earlier:  # it failed early
        return
    record, before = earlier["data"], earlier.get("initial_weights")
    weights = initial_weights_or_none(config, earlier)
    own, other = (
        config_digest(identity(values if in_sweep else _resumable(values, longer), record, start))
        for values, start in ((effective(config), weights), (earlier["config"], before))
    )
    # Whether a single run's data have changed shows when they are loaded, see check_data.
    if own != other or (in_sweep and _has_other_data(config, earlier["data"])):
        raise UserError(
            f"{directory.path} holds a run of another config or of other data than those composed "
            "now: give another folder"
        )


def _resumable(values: Mapping[str, Any], longer: bool) -> dict[str, Any]:
    """The config without what a resumption may change."""
    trainer = values["trainer"]
    changed = ("devices", "num_nodes", *(("max_epochs",) if longer else ()))
    kept = {key: trainer[key] for key in trainer if key not in changed}
    return {**values, "trainer": kept, "epochs": None if longer else values["epochs"]}


def already_there(directory: RunDirectory) -> UserError:
    """The error for a folder that holds a run, which is only written over by resuming it."""
    return UserError(
        f"{directory.path} holds a run already: give another folder, or resume that run: "
        f"{command(f'resume={directory.path}')}"
    )


def _has_other_data(config: DictConfig, earlier: Mapping[str, Any]) -> bool:
    """Whether the data can be loaded and differ from those of the `earlier` data record."""
    record = data_record(config)
    return record is not None and record["fingerprint"] != earlier["fingerprint"]


def check_data(directory: RunDirectory, earlier: RunRecord, data: Mapping[str, Any]) -> None:
    """Raise UserError where the run would start anew on other data, and lose what it has."""
    has_results = directory.last_checkpoint.exists() or directory.has_metrics()
    same = earlier.get("data", {}).get("fingerprint") == data["fingerprint"]
    if has_results and not same:
        raise UserError(
            f"{directory.path} was trained on other data than there are now: it would start anew "
            "and lose its epochs; give the data as they were, or start a new run"
        )


def reason_to_start_anew(
    directory: RunDirectory, earlier: RunRecord, record: Mapping[str, Any], *, longer: bool
) -> str | None:
    """Return why the run of `record` cannot start from last.ckpt of the `earlier` attempt.

    A failed attempt starts anew if the code has changed, as that may be the repair; but not one
    that has results of fewer epochs (`longer`), which would be lost.
    """
    if not directory.last_checkpoint.exists():
        return "no checkpoint of this run to resume from"
    same_code = all(earlier.get(key) == record.get(key) for key in ("code_digest", "own_code"))
    if earlier["status"] == "failed" and not (same_code or longer):
        return "the code has changed since this run failed"
    return None


def continue_record(
    record: dict[str, Any], earlier: RunRecord, *, longer: bool, is_new: bool = True
) -> None:
    """Turn `record` into the continuation of the `earlier` one: its start, one more resumption.

    An attempt that is not new, of the same command, is no resumption.
    """
    resumption = {key: record[key] for key in RESUMPTION if key in record}
    record |= {key: value for key, value in earlier.items() if key in FROM_START}
    if not is_new:
        record |= {"resumed": earlier["resumed"]} if "resumed" in earlier else {}
        return
    if "device" in earlier:
        resumption["earlier_device"] = earlier["device"]
    if "pruned_after" in earlier:
        resumption["pruned_after"] = earlier["pruned_after"]
    if longer:
        resumption["earlier_epochs"] = earlier["config"]["epochs"]
    record["resumed"] = [*earlier.get("resumed", []), resumption]
