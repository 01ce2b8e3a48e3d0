"""What dermaexp uses of Lightning beyond its documented interface, and nothing else.

tests/training/test_lightning_internals.py names what a new version of Lightning broke.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.callbacks.early_stopping import EarlyStoppingReason
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities.exceptions import SIGTERMException

C = TypeVar("C", bound=Callback)
# Keys of ModelCheckpoint's state that hold paths, or a dict from paths to scores.
CHECKPOINT_PATHS = ("best_model_path", "kth_best_model_path", "last_model_path", "best_k_models")


def callbacks_of(trainer: Trainer, kind: type[C]) -> list[C]:
    """Return the trainer's callbacks of one kind."""
    callbacks: list[Callback] = getattr(trainer, "callbacks")  # noqa: B009 it has no type
    return [callback for callback in callbacks if isinstance(callback, kind)]


@contextlib.contextmanager
def without_callbacks(trainer: Trainer, kind: type[Callback]) -> Iterator[None]:
    """Take the callbacks of one kind out of the trainer, and put them back."""
    callbacks = callbacks_of(trainer, Callback)
    vars(trainer)["callbacks"] = [c for c in callbacks if not isinstance(c, kind)]
    try:
        yield
    finally:
        vars(trainer)["callbacks"] = callbacks


def is_fitting(trainer: Trainer) -> bool:
    """Whether `fit` runs, its validation included, and neither `validate` nor `test`."""
    return trainer.state.fn == TrainerFn.FITTING


def has_stopped(stopping: EarlyStopping) -> bool:
    """Whether early stopping ended the training, perhaps before it was resumed."""
    return stopping.stopping_reason != EarlyStoppingReason.NOT_STOPPED


def is_signal(error: SystemExit) -> bool:
    """Whether Lightning exits because of SIGTERM or Ctrl-C."""
    return isinstance(error, SIGTERMException) or isinstance(error.__context__, KeyboardInterrupt)


def moved_checkpoint_state(state: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the state of a ModelCheckpoint with every path in `folder`.

    Lightning forgets the best checkpoint of a run directory that was moved.
    """

    def moved(value: Any) -> Any:
        if isinstance(value, str) and value:
            return str(folder / Path(value).name)
        if isinstance(value, dict):
            return {moved(path): score for path, score in value.items()}
        return value

    paths = {key: moved(state[key]) for key in CHECKPOINT_PATHS}
    return {**state, **paths, "dirpath": str(folder)}
