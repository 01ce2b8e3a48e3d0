"""The LightningModule: net, loss, optimizer and schedule; it measures, callbacks write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MeanMetric

from dermaexp.core.errors import UserError
from dermaexp.data.datamodule import Batch
from dermaexp.metrics import classification
from dermaexp.metrics.predictions import Predictions
from dermaexp.training import tta
from dermaexp.training.augment import Augment
from dermaexp.training.distributed import gathered

LAST_EPOCH = ("epoch_metrics", "trained_samples")  # kept for a run that goes on after its training


class Classifier(LightningModule):
    """Trains `net` on uint8 images.

    `predictions` holds the last pass over each of "val" and "test". `epoch_metrics` holds the last
    epoch's train_loss and train_accuracy, as trained, and val_loss, val_accuracy and
    val_macro_auroc after it. In blended images (mixup, cutmix) train_accuracy asks for the label of
    the first.
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
    ) -> None:
        """`optimizer` takes parameters; `scheduler` an optimizer and the number of its steps.

        `max_steps` is where the training ends, if that is before its last epoch does.

        `loss` takes logits and targets, see `dermaexp.losses`. `augment` changes the training
        images. The final val and test probabilities are averages over the `test_views` of each
        image, see `dermaexp.views`; while the net is trained, val sees the images as they are.
        `mean` and `std`, scalars or (C,), standardise the pixels after they are scaled to [0, 1].
        """
        super().__init__()
        self.net = net
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.loss = loss
        self.augment = augment
        self.test_views = test_views
        self.max_steps = max_steps
        self.register_buffer("mean", torch.as_tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.as_tensor(std).view(-1, 1, 1))
        # "disable" spares a GPU a wait at every step; the loss is checked below, once.
        self.train_loss = MeanMetric(nan_strategy="disable")
        self.train_accuracy = MeanMetric(nan_strategy="disable")
        self.epoch_metrics: dict[str, float] = {}
        self.trained_samples = 0  # in a whole epoch, or in the part of one that was trained
        self.predictions: dict[str, Predictions] = {}
        self._batches: list[tuple[Tensor, Tensor, Tensor]] = []

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of uint8 images (N, C, H, W)."""
        return self._logits(images.float() / 255)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, targets, _ = batch
        images, goals = images.float() / 255, targets
        if self.augment is not None:
            images, goals = self.augment(images, targets)
        logits = self._logits(images)
        loss = self.loss(logits, goals)
        if not torch.isfinite(loss):
            raise self._diverged(f"step {batch_idx + 1}")
        # One value an image: with "disable", torchmetrics 1.9 ignores the weights it is given.
        self.train_loss.update(loss.detach().expand(len(targets)))
        hits = (logits.detach().argmax(dim=1) == targets).float()
        self.train_accuracy.update(hits)
        if self.trainer.world_size > 1:
            # Lightning averages the processes' gradients; so weighted, that is the batch's mean.
            loss = loss * self.trainer.train_dataloader.sampler.weight(batch_idx)
        return loss

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["last_epoch"] = {name: getattr(self, name) for name in LAST_EPOCH}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for name, value in checkpoint["last_epoch"].items():
            setattr(self, name, value)

    def on_train_epoch_start(self) -> None:
        self.train_loss.reset()
        self.train_accuracy.reset()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._predict(batch)

    def on_validation_epoch_end(self) -> None:
        predictions = self._collect("val")
        self.epoch_metrics = {f"val_{name}": value for name, value in _scores(predictions).items()}
        if self.trainer.state.fn == TrainerFn.FITTING:
            weight = self.train_accuracy.weight.clone()  # reduced in place
            samples = int(self.trainer.strategy.reduce(weight, reduce_op="sum"))
            self.trained_samples = max(self.trained_samples, samples)
            self.epoch_metrics["train_loss"] = self.train_loss.compute().item()
            self.epoch_metrics["train_accuracy"] = self.train_accuracy.compute().item()
        self.log_dict(self.epoch_metrics)  # in float32, for Lightning's own callbacks

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._predict(batch)

    def on_test_epoch_end(self) -> None:
        predictions = self._collect("test")
        self.log_dict({f"test_{name}": value for name, value in _scores(predictions).items()})

    def configure_optimizers(self) -> dict:
        optimizer = _make("optimizer", self.make_optimizer, self.parameters())
        if self.make_scheduler is None:
            return {"optimizer": optimizer}
        steps = int(self.trainer.estimated_stepping_batches)
        steps = min(steps, self.max_steps or steps)
        scheduler = _make("scheduler", self.make_scheduler, optimizer, steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def _logits(self, pixels: Tensor) -> Tensor:
        """Logits in float32 of images (N, C, H, W) in [0, 1]."""
        try:
            return self.net((pixels - self.mean) / self.std).float()
        except StopIteration as error:  # Lightning would take it for the end of the data
            raise UserError("the model raised StopIteration: raise another error there") from error

    def _predict(self, batch: Batch) -> None:
        images, targets, indices = batch
        if not len(targets):  # a process without an image joins in with one that nobody looks at
            images = images.new_zeros(1, *images.shape[1:])
        pixels = images.float() / 255
        is_final = self.trainer.state.fn != TrainerFn.FITTING
        seen = self.test_views(pixels) if is_final else tta.as_they_are(pixels)
        probabilities = sum(self._logits(view).softmax(dim=1) for view in seen) / len(seen)
        self._batches.append((probabilities[: len(targets)], targets, indices))

    def _collect(self, split: str) -> Predictions:
        """Put the batches of all processes together in the split's order."""
        joined = [torch.cat(parts).cpu().numpy() for parts in zip(*self._batches, strict=True)]
        self._batches.clear()
        probabilities, targets, indices = gathered(joined)
        if not np.isfinite(probabilities).all():
            raise self._diverged(split)
        order = indices.argsort()
        self.predictions[split] = Predictions(targets[order], probabilities[order])
        return self.predictions[split]

    def _diverged(self, where: str) -> UserError:
        kept = "; checkpoints/ keeps the epoch before"
        return UserError(
            f"the loss is not a number in epoch {self.current_epoch + 1}, {where}: "
            "try a lower optimizer.lr"
            + (kept if self.current_epoch and self.trainer.checkpoint_callbacks else "")
        )


def _scores(predictions: Predictions) -> dict[str, float]:
    """What Lightning's callbacks can monitor, after val_ and test_."""
    hits = predictions.probabilities.argmax(axis=1) == predictions.targets
    return {
        "loss": classification.cross_entropy(*predictions),
        "accuracy": float(hits.mean()),
        "macro_auroc": classification.macro_auroc(*predictions),
    }


def _make(part: str, maker: Callable[..., Any], *arguments: Any) -> Any:
    """What `maker` makes; UserError where it refuses the config's values of `part`."""
    try:
        return maker(*arguments)
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise UserError(f"{part} cannot be built: {error}; see the keys of {part}") from error
