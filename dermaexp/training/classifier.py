"""The LightningModule: model, loss, optimizer and schedule. It measures; callbacks write."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerConfig, OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader

from dermaexp.core.errors import UserError
from dermaexp.core.tasks import Task
from dermaexp.data.batches import Batches
from dermaexp.data.datamodule import Batch, as_floats
from dermaexp.metrics import classification
from dermaexp.metrics.labels import is_correct
from dermaexp.metrics.predictions import Predictions
from dermaexp.training import tta
from dermaexp.training.augment import Augment
from dermaexp.training.collected import Collected
from dermaexp.training.distributed import gathered
from dermaexp.training.epoch_sums import EpochSums
from dermaexp.training.finetune import Finetune, scale_learning_rates
from dermaexp.training.lightning_internals import is_fitting
from dermaexp.training.optimizer_states import match_layouts
from dermaexp.training.probabilities import PROBABILITIES

LAST_EPOCH = ("epoch_metrics", "trained_samples")  # kept for a run resumed after its training


class Classifier(LightningModule):
    """Trains `net` on uint8 images.

    Logs for Lightning's callbacks, at the end of each validation, train_loss and train_accuracy of
    the epoch as trained, val_loss, val_accuracy and val_macro_auroc; after the test, the same of
    test. `epoch_metrics` holds those of the last epoch in full precision, `predictions` the last
    pass over "val" and "test". Accuracy is the share of the images, or of all their labels where
    an image has several. In mixed images (mixup, cutmix) train_accuracy counts the first image's.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., LRScheduler] | None = None,
        *,
        loss: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy,
        augment: Augment | None = None,
        test_views: Callable[[Tensor], list[Tensor]] = tta.as_they_are,
        mean: Tensor | float = 0.0,
        std: Tensor | float = 1.0,
        max_steps: int | None = None,
        task: Task = "multi-class",
        finetune: Finetune | None = None,
        head: str = "",
        notes: Sequence[str] = (),
    ) -> None:
        """`optimizer` takes parameters; `scheduler` takes an optimizer and its number of steps.

        `loss` takes logits and targets (see `training.losses`). `augment` changes the training
        images. `test_views` returns the views of each image over which the final val and test
        probabilities are averaged (see `training.tta`); during training, val uses the images
        themselves. `mean` and `std`, scalars or (C,), standardise pixels in [0, 1]. `max_steps`
        ends the training, if that comes before its last epoch. `task` says what the logits mean.
        `finetune` says how the layers before the `head`, the name of the last one, are trained.
        `notes` are what a user must know of its weights.
        """
        super().__init__()
        self.net = net
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.loss = loss
        self.augment = augment
        self.test_views = test_views
        self.max_steps = max_steps
        self.task = task
        self.finetune = finetune
        self.head = head
        self.notes = notes
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.as_tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.as_tensor(std).view(-1, 1, 1))
        self.standardises = self._changes_pixels()
        self.sums = EpochSums()
        self.epoch_metrics: dict[str, float] = {}
        self.epoch_samples = 0  # of the last epoch
        self.trained_samples = 0  # in a whole epoch, or in the part of one that was trained
        self.predictions: dict[str, Predictions] = {}
        self._answers = (Collected(), Collected(), Collected())

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, K) of uint8 images (N, C, H, W)."""
        return self._logits(as_floats(images))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, targets, _ = batch
        loss, logits = self.loss_of(*self.augmented(as_floats(images), targets))
        self.count(loss, self.are_correct(logits, targets).sum(), targets.shape)
        if self.trainer.world_size > 1:
            # Lightning averages the processes' gradients: weighted so, that is the batch's mean.
            batches = cast(Batches, cast(DataLoader, self.trainer.train_dataloader).sampler)
            loss = loss * batches.weight(batch_idx)
        return loss

    def augmented(self, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images and their targets as a step trains on them."""
        return self.augment(pixels, targets) if self.augment is not None else (pixels, targets)

    def loss_of(self, pixels: Tensor, goals: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss and the logits of augmented images."""
        logits = self._logits(pixels)
        return self.loss(logits, goals), logits

    def are_correct(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return which answers (…, N) or (…, N, L) are those of the targets."""
        answers = logits > 0 if self.task == "multi-label" else logits.argmax(dim=-1)
        return answers == targets

    def count(self, loss: Tensor, correct: Tensor, shape: Sequence[int]) -> None:
        """Add a training batch to the epoch's sums; UserError where an earlier loss diverged."""
        self.sums.add(loss, correct, shape)
        self._check_losses()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._read_losses()  # nothing that diverged is kept
        checkpoint["last_epoch"] = {name: getattr(self, name) for name in LAST_EPOCH}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for name, value in checkpoint["last_epoch"].items():
            setattr(self, name, value)

    def on_train_start(self) -> None:
        match_layouts(self.trainer.optimizers)

    def on_train_epoch_start(self) -> None:
        self.sums.clear()

    def on_validation_epoch_start(self) -> None:
        self._read_losses()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._predict(batch)

    def on_validation_epoch_end(self) -> None:
        self.measure_validation()
        self.log_dict(self.epoch_metrics, logger=False)  # Lightning rounds to float32

    def measure_validation(self) -> None:
        """Fill `epoch_metrics` after the last batch of val."""
        predictions = self._collect("val")
        self.epoch_metrics = {f"val_{name}": value for name, value in _scores(predictions).items()}
        if is_fitting(self.trainer):
            loss, accuracy, self.epoch_samples = self.sums.means()
            self.trained_samples = max(self.trained_samples, self.epoch_samples)
            self.epoch_metrics |= {"train_loss": loss, "train_accuracy": accuracy}

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._predict(batch)

    def on_test_epoch_end(self) -> None:
        predictions = self._collect("test")
        scores = {f"test_{name}": value for name, value in _scores(predictions).items()}
        self.log_dict(scores, logger=False)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Take the statistics of pixels as they were trained, of one channel or of all."""
        for name in ("mean", "std"):
            if (stored := state_dict.get(name)) is not None:
                setattr(self, name, getattr(self, name).new_zeros(stored.shape))
        loaded = super().load_state_dict(state_dict, strict=strict, assign=assign)
        self.standardises = self._changes_pixels()
        return loaded

    def configure_optimizers(self) -> OptimizerConfig | OptimizerLRSchedulerConfig:
        return self.optimizer_of(self._trained())

    def optimizer_of(self, trained: Any) -> OptimizerConfig | OptimizerLRSchedulerConfig:
        """Return the optimizer of the `trained` parameters, and its schedule."""
        optimizer = _make("optimizer", self.make_optimizer, trained)
        scale_learning_rates(optimizer)
        if self.make_scheduler is None:
            return {"optimizer": optimizer}
        steps = int(self.trainer.estimated_stepping_batches)
        steps = min(steps, self.max_steps or steps)
        scheduler = _make("scheduler", self.make_scheduler, optimizer, steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def _trained(self) -> Any:
        """Return what the optimizer trains: all parameters, or groups of them to fine-tune."""
        if self.finetune is None:
            return self.parameters()
        own = set(self.net.parameters())
        others = [parameter for parameter in self.parameters() if parameter not in own]
        return self.finetune.groups(self.net, self.head, others)

    def _changes_pixels(self) -> bool:
        """Whether `mean` and `std` change anything: by default they do not."""
        return bool((self.mean != 0).any() or (self.std != 1).any())

    def _logits(self, pixels: Tensor) -> Tensor:
        """Return the logits in float32 of images (N, C, H, W) in [0, 1]."""
        try:
            if self.standardises:
                pixels = (pixels - self.mean) / self.std
            return self.net(pixels).float()
        except StopIteration as error:  # Lightning takes it for the end of the data
            raise UserError("the model raised StopIteration: raise another error there") from error

    def _predict(self, batch: Batch) -> None:
        images, targets, indices = batch
        if not len(targets):  # a process without an image predicts one that is not counted
            images = images.new_zeros(1, *images.shape[1:])
        pixels = as_floats(images)
        views = tta.as_they_are(pixels) if is_fitting(self.trainer) else self.test_views(pixels)
        answers = [PROBABILITIES[self.task](self._logits(view)) for view in views]
        probabilities = functools.reduce(torch.add, answers) / len(answers)
        parts = (probabilities[: len(targets)], targets, indices)
        for collected, part in zip(self._answers, parts, strict=True):
            collected.add(part)

    def _collect(self, split: str) -> Predictions:
        """Join the batches of all processes in the split's order."""
        joined = [collected.take().cpu().numpy() for collected in self._answers]
        probabilities, targets, indices = gathered(joined)
        if not np.isfinite(probabilities).all():
            raise self._diverged(split)
        order = indices.argsort()
        self.predictions[split] = Predictions(targets[order], probabilities[order])
        return self.predictions[split]

    def _read_losses(self) -> None:
        self.sums.read()
        self._check_losses()

    def _check_losses(self) -> None:
        """Raise UserError where a loss that was read is not finite."""
        if self.sums.diverged_in:
            raise self._diverged(f"step {self.sums.diverged_in}")

    def _diverged(self, where: str) -> UserError:
        kept = "; checkpoints/ keeps the epoch before"
        return UserError(
            f"the loss is not a number in epoch {self.current_epoch + 1}, {where}: "
            "try a lower optimizer.lr"
            + (kept if self.current_epoch and self.trainer.checkpoint_callbacks else "")
        )


def _scores(predictions: Predictions) -> dict[str, float]:
    """Return the scores that Lightning's callbacks can monitor."""
    return {
        "loss": classification.cross_entropy(*predictions),
        "accuracy": float(is_correct(*predictions).mean()),
        "macro_auroc": classification.macro_auroc(*predictions),
    }


def _make(part: str, maker: Callable[..., Any], *arguments: Any) -> Any:
    """Return what `maker` makes; UserError where it refuses the config's values of `part`."""
    try:
        return maker(*arguments)
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise UserError(f"{part} cannot be built: {error}; see the keys of {part}") from error
