"""Names what a new version of Lightning broke of what dermaexp uses beyond its documentation."""

from __future__ import annotations

import contextlib
import inspect
import os
from pathlib import Path
from typing import cast

import pytest
import pytorch_lightning as lightning
import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint, Timer
from pytorch_lightning.callbacks.early_stopping import EarlyStoppingReason
from pytorch_lightning.trainer import call
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch.utils.data import DataLoader, Dataset

from dermaexp.training import lightning_internals as internals

LIGHTNING = f"pytorch-lightning {lightning.__version__}"


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    return Trainer(
        accelerator="cpu",
        callbacks=[Timer(), EarlyStopping("val_loss")],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )


def test_the_trainer_lists_its_callbacks(trainer: Trainer) -> None:
    assert "callbacks" in vars(trainer), f"{LIGHTNING}: Trainer has no attribute callbacks"
    (timer,) = internals.callbacks_of(trainer, Timer)
    with internals.without_callbacks(trainer, Timer):
        assert internals.callbacks_of(trainer, Timer) == []
        assert len(internals.callbacks_of(trainer, EarlyStopping)) == 1
    assert internals.callbacks_of(trainer, Timer) == [timer]


def test_what_the_trainer_is_doing(trainer: Trainer) -> None:
    assert hasattr(trainer.state, "fn"), f"{LIGHTNING}: Trainer.state has no attribute fn"
    assert not internals.is_fitting(trainer)
    trainer.state.fn = TrainerFn.FITTING
    assert internals.is_fitting(trainer)


def test_early_stopping_keeps_its_reason() -> None:
    stopping = EarlyStopping("val_loss")
    assert hasattr(stopping, "stopping_reason"), f"{LIGHTNING}: EarlyStopping has no reason"
    assert not internals.has_stopped(stopping)
    stopping.stopping_reason = EarlyStoppingReason.PATIENCE_EXHAUSTED
    assert internals.has_stopped(stopping)


def test_exits_by_a_signal() -> None:
    assert issubclass(SIGTERMException, SystemExit), f"{LIGHTNING}: SIGTERM raises something else"
    assert internals.is_signal(SIGTERMException())
    assert not internals.is_signal(SystemExit(1))
    source = inspect.getsource(lightning.trainer.call)
    assert "KeyboardInterrupt" in source and "exit(1)" in source, f"{LIGHTNING}: Ctrl-C ends anew"


def test_the_paths_in_the_state_of_a_checkpoint_callback(tmp_path: Path) -> None:
    callback = ModelCheckpoint(dirpath=tmp_path / "old", monitor="val_loss")
    state = callback.state_dict()
    for key in (*internals.CHECKPOINT_PATHS, "dirpath"):
        assert key in state, f"{LIGHTNING}: ModelCheckpoint's state has no {key}"
    best = str(tmp_path / "old" / "best.ckpt")
    state |= {"best_model_path": best, "best_k_models": {best: 0.5}}
    moved = internals.moved_checkpoint_state(state, tmp_path / "new")
    path = str(tmp_path / "new" / "best.ckpt")
    assert (moved["best_model_path"], moved["best_k_models"]) == (path, {path: 0.5})
    assert moved["dirpath"] == str(tmp_path / "new")
    assert moved["last_model_path"] == "", "no path stays none"
    again = ModelCheckpoint(dirpath=tmp_path / "new", monitor="val_loss")
    again.load_state_dict(moved)
    assert again.best_model_path == path, f"{LIGHTNING}: ModelCheckpoint forgets its best file"


class Counts(Callback):
    """Counts its calls, one hook in the class and one of the object alone."""

    def __init__(self) -> None:
        self.called: list[str] = []
        vars(self)["on_train_start"] = lambda *_: self.called.append("on_train_start")

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx: int) -> None:
        module.log("seen", float(batch_idx), on_step=True, on_epoch=True)
        self.called.append("on_train_batch_end")


class Steps(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return self.layer(batch).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())


@pytest.mark.parametrize("lean", [False, True])
def test_lean_hooks_call_what_lightning_calls(tmp_path: Path, lean: bool) -> None:
    counts = Counts()
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        callbacks=[counts, Callback()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    before = (vars(call).copy(), os.environ.copy())
    with internals.lean_hooks() if lean else contextlib.nullcontext():
        trainer.fit(Steps(), DataLoader(cast(Dataset, torch.ones(4, 1)), batch_size=2))
    assert counts.called == ["on_train_start", *4 * ["on_train_batch_end"]], LIGHTNING
    assert trainer.callback_metrics["seen_epoch"] == 0.5, f"{LIGHTNING}: log knows no hook"
    assert before == (vars(call), os.environ), "what Lightning had is put back"


def test_lean_hooks_replace_functions_of_lightning() -> None:
    kept = {name: getattr(call, name) for name in vars(call)}
    with internals.lean_hooks():
        for name in ("callback_hooks", "lightning_module_hook", "strategy_hook"):
            known = inspect.signature(kept[f"_call_{name}"]).parameters
            replaced = inspect.signature(getattr(call, f"_call_{name}")).parameters
            kinds = [parameter.kind for parameter in known.values()]
            assert kinds == [parameter.kind for parameter in replaced.values()], LIGHTNING
