"""Runs that differ by the seed alone, trained at once: one loop over all of them.

What a step costs beyond its arithmetic is paid once for all. Each replica keeps its own weights,
order of images and random numbers, and its steps are those of its own single run.
"""

from __future__ import annotations

import contextlib
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
from torch.utils.data import DataLoader

from dermaexp.core import allocator
from dermaexp.core.errors import UserError
from dermaexp.data.batches import mixed_seed
from dermaexp.data.datamodule import Batch, ImageDataModule
from dermaexp.data.splits import Splits
from dermaexp.runs.directory import RunDirectory
from dermaexp.training.build import build_classifier, build_data, build_trainer
from dermaexp.training.callbacks import load_checkpoint
from dermaexp.training.classifier import Classifier
from dermaexp.training.experiment import describe_device, exits_as_errors, quieten_lightning
from dermaexp.training.lightning_internals import lean_hooks
from dermaexp.training.replica_files import (
    JoinedCheckpointIO,
    WriteReplicas,
    writing_callbacks,
)


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
    shared = build_data(config, replicas[0].splits)
    classifiers, data = [], []
    for replica in replicas:
        lightning.seed_everything(replica.config.seed, workers=True, verbose=False)
        own = copy.copy(shared)  # the images are the same
        own.seed = replica.config.seed
        initial = None if replica.resumed else replica.record.get("initial_weights")
        classifiers.append(build_classifier(replica.config, own, initial))
        data.append(own)
    module = Replicas(classifiers, data)
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
    trainer = build_trainer(
        joined,
        replicas[0].directory,
        timer,
        [writing],
        JoinedCheckpointIO(checkpoints),
    )
    if trainer.world_size > 1:
        raise UserError("runs of several processes are trained alone")
    for replica in replicas:
        replica.record["device"] = describe_device(trainer)
        replica.record["replicas"] = [other.config.seed for other in replicas]
        replica.directory.write_run(replica.record)
    last = replicas[0].directory.last_checkpoint if checkpoints[0] else None
    with lean_hooks():
        trainer.fit(module, ckpt_path=last)


class Replicas(LightningModule):
    """Trains classifiers of one config, each on its own batches; validates them on the same ones.

    The loss is the sum of theirs, of which the gradient of each one's weights is that of its own.
    """

    def __init__(self, classifiers: Sequence[Classifier], data: Sequence[ImageDataModule]) -> None:
        super().__init__()
        self.classifiers = nn.ModuleList(classifiers)
        self.data = data
        self.streams = [RandomStream() for _ in data]
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
        for classifier in self.each():
            classifier.trainer = self.trainer

    def train_dataloader(self) -> list[DataLoader]:
        return [data.train_dataloader() for data in self.data]

    def val_dataloader(self) -> DataLoader:
        return self.data[0].val_dataloader()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for classifier, own in zip(self.each(), checkpoint["replicas"], strict=True):
            classifier.on_load_checkpoint(own)

    def on_train_epoch_start(self) -> None:
        for classifier, data, stream in zip(self.each(), self.data, self.streams, strict=True):
            classifier.on_train_epoch_start()
            stream.seed(mixed_seed(data.seed, self.current_epoch, 0), self.device)

    def training_step(self, batches: Sequence[Batch], batch_idx: int) -> Tensor:
        losses = []
        for classifier, batch, stream in zip(self.each(), batches, self.streams, strict=True):
            with stream.drawn_from(self.device):
                losses.append(classifier.training_step(batch, batch_idx))
        return torch.stack(losses).sum()

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
        first = next(self.each())
        return first.optimizer_of(self.parameters())

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
        for classifier in self.each():
            nn.utils.clip_grad_norm_(classifier.parameters(), gradient_clip_val)


class RandomStream:
    """torch's random numbers of one replica, drawn in turn with those of the others."""

    def seed(self, seed: int, device: torch.device) -> None:
        """Start as `SeedEveryEpoch` does for a single run."""
        torch.manual_seed(seed % 2**32)
        self._keep(device)

    @contextlib.contextmanager
    def drawn_from(self, device: torch.device) -> Iterator[None]:
        torch.set_rng_state(self.state)
        if device.type != "cpu":
            torch.get_device_module(device).set_rng_state(self.device_state, device)
        yield
        self._keep(device)

    def _keep(self, device: torch.device) -> None:
        self.state = torch.get_rng_state()
        if device.type != "cpu":
            self.device_state = torch.get_device_module(device).get_rng_state(device)
