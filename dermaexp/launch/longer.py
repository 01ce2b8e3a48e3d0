"""`resume=DIR epochs=N`: a run trained on to epoch N, where that gives the run of N epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from dermaexp.core.errors import UserError
from dermaexp.launch import earlier
from dermaexp.launch.resume import EPOCHS
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.locks import is_locked

if TYPE_CHECKING:
    from dermaexp.runs.record import RunRecord

# Of the callbacks that change numbers, those whose state last.ckpt holds and that do not ask how
# many epochs are planned.
CALLBACKS = tuple(
    f"pytorch_lightning.callbacks.{name}"
    for name in ("EarlyStopping", "WeightAveraging", "EMAWeightAveraging")
)


def is_asked(config: DictConfig, overrides: Sequence[str], before: RunRecord) -> bool:
    """Whether the command, with its `overrides`, gives other epochs than the attempt `before`."""
    given = _last(overrides) != _last(before.get("overrides", []))
    return given and config.epochs != before.get("config", {}).get("epochs", config.epochs)


def check(config: DictConfig, directory: RunDirectory, before: RunRecord) -> None:
    """Raise UserError where the run cannot become that of config.epochs epochs.

    Without last.ckpt a run that never finished starts anew, for which any schedule will do.
    """
    from dermaexp.launch import validate  # with pydantic, for which --cfg job should not wait

    if is_locked(directory.path):
        raise UserError(f"another process is at work in {directory.path}: wait until it ends")
    validate.check(config)
    if (most := config.trainer.max_epochs) != config.epochs:
        raise UserError(
            f"epochs={config.epochs} has no effect: trainer.max_epochs is {most}; start a new run "
            f"with trainer.max_epochs={config.epochs}"
        )
    if any((folder / "multirun.yaml").exists() for folder in directory.path.parents):
        raise _refusal(config, f"{directory.path} is a job of a sweep, whose jobs are compared")
    if not directory.last_checkpoint.exists() and not directory.has_metrics():
        return
    if reason := _reason(before["config"], before.get("choices", {})):
        raise _refusal(config, reason)
    earlier.check_same_run(config, directory, before, in_sweep=False, longer=True)
    if reason := _end(directory, config.epochs):
        raise _refusal(config, reason)


def was_asked(before: RunRecord) -> bool:
    """Whether the run has results of fewer epochs, which must last until it finishes."""
    return any("earlier_epochs" in attempt for attempt in before.get("resumed", []))


def _last(overrides: Sequence[str]) -> str | None:
    return next((text for text in reversed(overrides) if text.startswith(EPOCHS)), None)


def _reason(trained: Mapping[str, Any], choices: Mapping[str, str | None]) -> str | None:
    """Why the epochs `trained` by that config would be others in a longer run; None if not."""
    if trained["scheduler"]:
        return (
            f"scheduler={choices.get('scheduler')} spans the whole training: the epochs trained so "
            f"far, of {trained['epochs']}, had other learning rates"
        )
    for name, callback in trained["callbacks"].items():
        if callback.get("_target_") not in CALLBACKS:
            return f"callbacks.{name} may depend on the number of epochs planned"
    return None


def _end(directory: RunDirectory, epochs: int) -> str | None:
    """Why the training in `directory` cannot go on to so many epochs; None if it can."""
    if not directory.last_checkpoint.exists():
        return f"{directory.last_checkpoint}, from which to train on, is missing"
    try:
        ended_by = directory.read_metrics()["ended_by"]
    except (OSError, ValueError):  # it did not finish, or its numbers are to be computed again
        ended_by = None
    if ended_by:
        return f"{ended_by} ended the training, and would again"
    from dermaexp.training.callbacks import load_checkpoint  # with torch

    trained = load_checkpoint(directory.last_checkpoint)["epoch"] + 1
    return f"{trained} epochs are trained already" if epochs < trained else None


def _refusal(config: DictConfig, reason: str) -> UserError:
    given = f"{EPOCHS}{config.epochs}"
    return UserError(f"{given}: {reason}; start a new run with {given}")
