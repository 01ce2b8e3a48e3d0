"""What dermaexp uses of Lightning beyond its documented interface, and nothing else.

tests/training/test_lightning_internals.py names what a new version of Lightning broke.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping
from pytorch_lightning.callbacks.early_stopping import EarlyStoppingReason
from pytorch_lightning.loops import evaluation_loop, training_epoch_loop
from pytorch_lightning.trainer import call
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities.exceptions import SIGTERMException

C = TypeVar("C", bound=Callback)
NVML = "PYTORCH_NVML_BASED_CUDA_CHECK"  # set by Lightning for all of the process
HOOK = "_current_fx_name"  # the attribute of a LightningModule that names the hook that runs
# Keys of ModelCheckpoint's state that hold paths, or a dict from paths to scores.
CHECKPOINT_PATHS = ("best_model_path", "kth_best_model_path", "last_model_path", "best_k_models")


def callbacks_of(trainer: Trainer, kind: type[C]) -> list[C]:
    """Return the trainer's callbacks of one kind."""
    return [callback for callback in _all_callbacks(trainer) if isinstance(callback, kind)]


def _all_callbacks(trainer: Trainer) -> list[Callback]:
    return getattr(trainer, "callbacks")  # noqa: B009 it has no type


@contextlib.contextmanager
def without_callbacks(trainer: Trainer, kind: type[Callback]) -> Iterator[None]:
    """Take the callbacks of one kind out of the trainer, and put them back."""
    callbacks = callbacks_of(trainer, Callback)
    vars(trainer)["callbacks"] = [c for c in callbacks if not isinstance(c, kind)]
    try:
        yield
    finally:
        vars(trainer)["callbacks"] = callbacks


@contextlib.contextmanager
def lean_hooks() -> Iterator[None]:
    """Let Lightning call only the hooks that a callback has, and save other work of each step.

    It calls every hook of every callback in a profiler's context, looks up the arguments of
    training_step, and lets Adam load NVIDIA's library to see whether there are GPUs: all that takes
    longer than a step of a small model.
    """
    lean = [
        (call, "_call_callback_hooks", _callback_hooks()),
        (call, "_call_lightning_module_hook", _module_hook),
        (call, "_call_strategy_hook", _strategy_hook),
        *(
            (loop, "is_param_in_hook_signature", functools.cache(loop.is_param_in_hook_signature))
            for loop in (training_epoch_loop, evaluation_loop)
        ),
    ]
    kept = [(module, name, getattr(module, name)) for module, name, _ in lean]
    by_nvml = os.environ.pop(NVML, None)
    for module, name, function in lean:
        setattr(module, name, function)
    try:
        yield
    finally:
        if by_nvml is not None:
            os.environ[NVML] = by_nvml
        for module, name, function in kept:
            setattr(module, name, function)


def _callback_hooks() -> Callable[..., None]:
    """Return what takes the place of Lightning's function that calls a hook of all callbacks."""

    @functools.cache
    def having(hook: str, callbacks: tuple[Callback, ...]) -> list[Callback]:
        nothing = getattr(Callback, hook)
        return [c for c in callbacks if getattr(getattr(c, hook), "__func__", None) is not nothing]

    def call_hooks(
        trainer: Trainer,
        hook: str,
        *args: Any,
        monitoring_callbacks: bool | None = None,
        **kwargs: Any,
    ) -> None:
        module = trainer.lightning_module
        for callback in having(hook, tuple(_all_callbacks(trainer))):
            monitors = isinstance(callback, (EarlyStopping, Checkpoint))
            if monitoring_callbacks in (None, monitors):
                _called(callback, hook, module, trainer, module, *args, **kwargs)

    return call_hooks


def _module_hook(
    trainer: Trainer,
    hook: str,
    *args: Any,
    pl_module: LightningModule | None = None,
    **kwargs: Any,
) -> Any:
    module = pl_module or trainer.lightning_module
    return _called(module, hook, module, *args, **kwargs)


def _strategy_hook(trainer: Trainer, hook: str, *args: Any, **kwargs: Any) -> Any:
    return _called(trainer.strategy, hook, trainer.lightning_module, *args, **kwargs)


def _called(
    owner: Any, hook: str, module: LightningModule | None, *args: Any, **kwargs: Any
) -> Any:
    """Call a hook; the module's `log` reads its name."""
    names = {} if module is None else vars(module)  # nn.Module's own setattr takes much longer
    before = names.get(HOOK)
    names[HOOK] = hook
    result = getattr(owner, hook)(*args, **kwargs)
    names[HOOK] = before
    return result


def is_fitting(trainer: Trainer) -> bool:
    """Whether `fit` runs, its validation included, and neither `validate` nor `test`."""
    return trainer.state.fn == TrainerFn.FITTING


def has_stopped(stopping: EarlyStopping) -> bool:
    """Whether early stopping ended the training, perhaps before it was resumed."""
    return stopping.stopping_reason != EarlyStoppingReason.NOT_STOPPED


def is_signal(error: SystemExit) -> bool:
    """Whether Lightning exits because of SIGTERM or Ctrl-C."""
    return isinstance(error, SIGTERMException) or isinstance(error.__context__, KeyboardInterrupt)


def checkpoint_of(trainer: Trainer) -> dict[str, Any]:
    """Return what Lightning would write to a checkpoint now."""
    return trainer._checkpoint_connector.dump_checkpoint(weights_only=False)


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
