"""Runs that differ by the seed alone, trained at once.

What a step costs beyond its arithmetic is paid once for all. Each replica keeps its own weights,
order of images and random numbers. Where it pays and the model allows it, all replicas take one
step together (see `stacked`); else each takes that of its own single run.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pytorch_lightning as lightning
import torch
from omegaconf import DictConfig, open_dict
from pytorch_lightning import LightningModule
from pytorch_lightning.callbacks import Timer
from pytorch_lightning.utilities.types import OptimizerConfig, OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from dermaexp.core import allocator
from dermaexp.core.console import console
from dermaexp.core.errors import UserError
from dermaexp.data.batches import mixed_seed
from dermaexp.data.datamodule import Batch, ImageDataModule, as_floats
from dermaexp.data.splits import Splits
from dermaexp.runs.directory import RunDirectory
from dermaexp.training import stacked
from dermaexp.training.build import build_classifier, build_data, build_trainer
from dermaexp.training.callbacks import load_checkpoint
from dermaexp.training.classifier import Classifier
from dermaexp.training.experiment import describe_device, exits_as_errors, quieten_lightning
from dermaexp.training.lightning_internals import lean_hooks
from dermaexp.training.optimizer_states import match_layouts
from dermaexp.training.random_stream import RandomStream
from dermaexp.training.replica_files import (
    JoinedCheckpointIO,
    WriteReplicas,
    writing_callbacks,
)

STACKED_ON = ("cuda",)  # kinds of devices
TRIED = 4  # images of the step that shows whether models can be stacked


@dataclass
class Replica:
    """One of the runs: what `experiment.run` takes, for all but the end of its training."""

    config: DictConfig
    splits: Splits
    directory: RunDirectory
    record: dict[str, Any]
    resumed: bool


@exits_as_errors()
def train(replicas: Sequence[Replica]) -> None:
    """Train the replicas to their ends, each with its own history.csv and checkpoints.

    `experiment.run` then resumes each from its last.ckpt, finds its training over, and tests it.
    Adds the device and the seeds to the records. Those of an interrupted attempt are trained on
    together if their last.ckpt are of one epoch; else each group of one epoch in turn.
    """
    quieten_lightning()
    allocator.keep_freed_memory()
    groups: dict[int, list[tuple[Replica, dict[str, Any] | None]]] = {}
    for replica in replicas:
        checkpoint = load_checkpoint(replica.directory.last_checkpoint) if replica.resumed else None
        trained = checkpoint["epoch"] + 1 if checkpoint else 0
        groups.setdefault(trained, []).append((replica, checkpoint))
    for trained, group in groups.items():
        if trained < replicas[0].config.trainer.max_epochs:
            _train(*zip(*group, strict=True))


def _train(replicas: Sequence[Replica], checkpoints: Sequence[dict[str, Any] | None]) -> None:
    """Train replicas of one epoch: all of them new, or each with its own checkpoint."""
    config = replicas[0].config
    data = build_data(config, replicas[0].splits)
    classifiers = []
    for replica in replicas:
        lightning.seed_everything(replica.config.seed, workers=True, verbose=False)
        initial = None if replica.resumed else replica.record.get("initial_weights")
        classifiers.append(build_classifier(replica.config, data, initial))
    timer = Timer(verbose=False)
    writing = WriteReplicas(
        classifiers,
        [replica.directory for replica in replicas],
        [writing_callbacks(replica.config) for replica in replicas],
        timer,
        checkpoints,
    )
    joined = copy.deepcopy(config)
    with open_dict(joined):
        progress = joined.callbacks.get("progress")
        joined.callbacks = {"progress": progress} if progress else {}
        joined.logger = {}
    checkpoint_io = JoinedCheckpointIO(checkpoints)
    trainer = build_trainer(joined, replicas[0].directory, timer, [writing], checkpoint_io)
    if trainer.world_size > 1:
        raise UserError("runs of several processes are trained alone")
    for replica in replicas:
        replica.record["device"] = describe_device(trainer)
        replica.record["replicas"] = [other.config.seed for other in replicas]
        replica.directory.write_run(replica.record)
    writing.stacked = checkpoint_io.stacked = is_stacked = _are_stacked(
        config, classifiers, data, trainer.strategy.root_device
    )
    module = Replicas(classifiers, data, [replica.config.seed for replica in replicas], is_stacked)
    last = replicas[0].directory.last_checkpoint if checkpoints[0] else None
    with lean_hooks():
        trainer.fit(module, ckpt_path=last)


def _are_stacked(
    config: DictConfig,
    classifiers: Sequence[Classifier],
    data: ImageDataModule,
    device: torch.device,
) -> bool:
    """Whether the classifiers train as one; a line says why they do not where it would pay."""
    # On a CPU stacked convolutions, which become grouped ones, take longer than a loop over them.
    is_dense = all(weight.dim() <= 2 for weight in classifiers[0].parameters())
    if not is_dense and device.type not in STACKED_ON:
        return False
    images, targets, _ = data.images["train"][torch.from_numpy(data.used["train"][:TRIED])]
    optimizer = config.optimizer._target_.rpartition(".")[2]
    reason = stacked.obstacle(classifiers, optimizer, as_floats(images), targets)
    if reason:
        line = f"they take their steps one after the other: {reason}"
        console.print(line, soft_wrap=True, markup=False)
    return reason is None


class Replicas(LightningModule):
    """Trains classifiers of one config, each on its own batches; validates them on the same ones.

    The loss is the sum of theirs, of which the gradient of each one's weights is that of its own.
    """

    def __init__(
        self,
        classifiers: Sequence[Classifier],
        data: ImageDataModule,
        seeds: Sequence[int],
        is_stacked: bool,
    ) -> None:
        super().__init__()
        self.classifiers = nn.ModuleList(classifiers)
        self.data = data
        self.seeds = seeds
        self.is_stacked = is_stacked
        self.stack: stacked.Stack | None = None  # from the weights on the device
        self.streams = [RandomStream() for _ in seeds]
        self.max_steps = classifiers[0].max_steps

    def each(self) -> Iterator[Classifier]:
        for classifier in self.classifiers:
            yield cast(Classifier, classifier)

    @property
    def epoch_metrics(self) -> dict[str, float]:
        """The mean of each metric over the replicas, for the progress bar."""
        all_metrics = [classifier.epoch_metrics for classifier in self.each()]
        return {
            name: statistics.fmean(metrics[name] for metrics in all_metrics)
            for name in all_metrics[0]
        }

    @property
    def epoch_samples(self) -> int:
        return sum(classifier.epoch_samples for classifier in self.each())

    def setup(self, stage: str) -> None:
        self.data.trainer = self.trainer
        for classifier in self.each():
            classifier.trainer = self.trainer

    def train_dataloader(self) -> DataLoader:
        return self.data.train_dataloader_of(self.seeds)

    def val_dataloader(self) -> DataLoader:
        return self.data.val_dataloader()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for classifier, own in zip(self.each(), checkpoint["replicas"], strict=True):
            classifier.load_state_dict(own["state_dict"])  # with its own statistics of pixels
            classifier.on_load_checkpoint(own)

    def on_train_start(self) -> None:
        match_layouts(self.trainer.optimizers)

    def on_train_epoch_start(self) -> None:
        for classifier, seed, stream in zip(self.each(), self.seeds, self.streams, strict=True):
            classifier.on_train_epoch_start()
            stream.seed(mixed_seed(seed, self.current_epoch, 0), self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Take a step on the joined batches of all replicas."""
        images, targets, indices = (part.unflatten(0, (len(self.seeds), -1)) for part in batch)
        if self.stack:
            return self._stacked_step(self.stack, images, targets)
        losses = []
        for number, (classifier, stream) in enumerate(zip(self.each(), self.streams, strict=True)):
            own = (images[number], targets[number], indices[number])
            with stream.drawn_from(self.device):
                losses.append(classifier.training_step(own, batch_idx))
        return torch.stack(losses).sum()

    def _stacked_step(self, stack: stacked.Stack, images: Tensor, targets: Tensor) -> Tensor:
        pixels = as_floats(images.flatten(0, 1)).unflatten(0, images.shape[:2])
        losses, logits = stack.step(*self._augmented(pixels, targets))
        first = next(self.each())
        correct = first.are_correct(logits, targets).flatten(1).sum(dim=1)
        for classifier, loss, own in zip(self.each(), losses.detach(), correct, strict=True):
            classifier.count(loss, own, targets.shape[1:])
        return losses.sum()

    def _augmented(self, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Augment the images of each replica with its own random numbers."""
        augment = next(self.each()).augment
        if augment is None or not getattr(augment, "changes", True):  # one's own may not say
            return pixels, targets
        changed = []
        parts = (self.each(), self.streams, pixels, targets)
        for classifier, stream, *own in zip(*parts, strict=True):
            with stream.drawn_from(self.device):
                changed.append(classifier.augmented(*own))
        images, goals = zip(*changed, strict=True)
        return torch.stack(images), torch.stack(_alike(goals))

    def on_validation_epoch_start(self) -> None:
        for classifier in self.each():
            classifier.on_validation_epoch_start()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        for classifier in self.each():
            classifier.validation_step(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        for classifier in self.each():
            classifier.measure_validation()

    def configure_optimizers(self) -> OptimizerConfig | OptimizerLRSchedulerConfig:
        """One optimizer for all: torch's treat each parameter by itself."""
        if self.is_stacked:
            self.stack = stacked.Stack(list(self.each()))
        first = next(self.each())
        return first.optimizer_of(self.stack.parameters() if self.stack else self.parameters())

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip each replica's own norm."""
        if not gradient_clip_val or gradient_clip_algorithm == "value":
            super().configure_gradient_clipping(
                optimizer, gradient_clip_val, gradient_clip_algorithm
            )
            return
        if self.stack:
            self.stack.clip_gradients(gradient_clip_val)
            return
        for classifier in self.each():
            nn.utils.clip_grad_norm_(classifier.parameters(), gradient_clip_val)


def _alike(goals: Sequence[Tensor]) -> list[Tensor]:
    """Return goals of one shape: shares of the classes, if the images of a replica are mixed."""
    shares = next((own.shape[-1] for own in goals if own.is_floating_point()), None)
    if shares is None:
        return list(goals)
    return [(functional.one_hot(g, shares) if g.dim() == 1 else g).float() for g in goals]
