"""The files of replicas that one Trainer trains: each one's history.csv and checkpoints.

A replica's checkpoint is its share of the joint one: that which its own single run would write.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import Timer
from torch import Tensor

from dermaexp.runs.directory import RunDirectory
from dermaexp.training import stacked as stacking
from dermaexp.training.callbacks import AtomicCheckpointIO, History
from dermaexp.training.classifier import Classifier
from dermaexp.training.lightning_internals import checkpoint_of

WRITING = ("History", "BestCheckpoint", "LastCheckpoint")  # in the order in which Lightning calls


def writing_callbacks(config: DictConfig) -> list[Callback]:
    """Return those of the config's callbacks that write during the training."""
    targets = [f"dermaexp.training.callbacks.{name}" for name in WRITING]
    given = [callback for callback in config.callbacks.values() if callback]
    own = [callback for callback in given if callback["_target_"] in targets]
    return [
        instantiate(callback)
        for callback in sorted(own, key=lambda c: targets.index(c["_target_"]))
    ]


class TrainerOfOne:
    """The joint Trainer as the callbacks of one replica see it."""

    def __init__(self, joint: Trainer, classifier: Classifier, directory: RunDirectory) -> None:
        self.joint = joint
        self.classifier = classifier
        self.default_root_dir = str(directory.path)
        # Returns the checkpoint of this replica without the states of its callbacks.
        self.checkpoint: Callable[[], dict[str, Any]]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.joint, name)

    @property
    def callback_metrics(self) -> dict[str, Tensor]:
        """As Lightning keeps them, in float32."""
        metrics = self.classifier.epoch_metrics
        return {name: torch.tensor(value) for name, value in metrics.items()}

    def save_checkpoint(self, path: str | Path, *_: Any) -> None:
        self.joint.strategy.save_checkpoint(self.checkpoint(), path)


class WriteReplicas(Callback):
    """Calls the callbacks of each replica, which write its files, at their moments."""

    def __init__(
        self,
        classifiers: Sequence[Classifier],
        directories: Sequence[RunDirectory],
        callbacks: Sequence[Sequence[Callback]],
        timer: Timer,
        checkpoints: Sequence[Mapping[str, Any] | None],
    ) -> None:
        """`checkpoints` are those of an interrupted attempt."""
        self.classifiers = classifiers
        self.directories = directories
        self.callbacks = callbacks
        self.timer = timer
        self.earlier = checkpoints
        self.stacked = False
        self.seconds = [0.0 for _ in classifiers]  # of the fits in earlier attempts

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.trainers = [
            TrainerOfOne(trainer, classifier, directory)
            for classifier, directory in zip(self.classifiers, self.directories, strict=True)
        ]
        self._call("setup", stage)
        for callback in (callback for own in self.callbacks for callback in own):
            if isinstance(callback, History):
                callback.share = 1 / len(self.classifiers)
        for number, checkpoint in enumerate(self.earlier):
            if checkpoint:
                self._restore(number, checkpoint["callbacks"])

    def on_train_start(self, *_: Any) -> None:
        self._call("on_train_start")

    def on_train_epoch_start(self, *_: Any) -> None:
        self._call("on_train_epoch_start")

    def on_validation_end(self, *_: Any) -> None:
        self._call("on_validation_end")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        joint = functools.cache(lambda: checkpoint_of(trainer))
        for number, own in enumerate(self.trainers):
            own.checkpoint = functools.partial(self._share, joint, number)
        self._call("on_train_epoch_end")

    def _call(self, hook: str, *arguments: Any) -> None:
        for trainer, callbacks in zip(self.trainers, self.callbacks, strict=True):
            for callback in callbacks:
                getattr(callback, hook)(trainer, trainer.classifier, *arguments)

    def _restore(self, number: int, states: Mapping[str, Any]) -> None:
        self.seconds[number] = states[self.timer.state_key]["time_elapsed"]["train"]
        for callback in self.callbacks[number]:
            if callback.state_key in states:
                callback.load_state_dict(states[callback.state_key])

    def _share(self, joint: Callable[[], dict[str, Any]], number: int) -> dict[str, Any]:
        """Return the checkpoint of the replica of this number, with the states of its callbacks."""
        replicas = len(self.classifiers)
        own = split(joint(), number, replicas, stacked=self.stacked)
        elapsed = self.timer.state_dict()["time_elapsed"]
        elapsed = {stage: seconds / replicas for stage, seconds in elapsed.items()}
        elapsed["train"] += self.seconds[number]
        states = {callback.state_key: callback.state_dict() for callback in self.callbacks[number]}
        own["callbacks"] = {self.timer.state_key: {"time_elapsed": elapsed}, **states}
        self.classifiers[number].on_save_checkpoint(own)
        return own


class JoinedCheckpointIO(AtomicCheckpointIO):
    """Gives the replicas' own checkpoints as the joint one."""

    def __init__(self, checkpoints: Sequence[Mapping[str, Any] | None]) -> None:
        super().__init__()
        self.checkpoints = checkpoints
        self.stacked = False

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        given = [checkpoint for checkpoint in self.checkpoints if checkpoint]
        return join(given, stacked=self.stacked)


def prefix(number: int) -> str:
    """What begins the names of a replica's weights in the joint module's."""
    return f"classifiers.{number}."


def split(joint: Mapping[str, Any], number: int, replicas: int, *, stacked: bool) -> dict[str, Any]:
    """Return the share of the replica of this number of a joint Lightning checkpoint.

    In a `stacked` one the optimizer's tensors hold those of all replicas.
    """
    start = prefix(number)
    (optimizer,) = joint["optimizer_states"]
    (group,) = optimizer["param_groups"]
    state = optimizer["state"]
    count = len(group["params"])
    if stacked:
        state = {
            index: {name: _own(value, number) for name, value in values.items()}
            for index, values in state.items()
        }
    else:
        count //= replicas
        first = number * count
        state = {i: state[first + i] for i in range(count) if first + i in state}
    return {
        **joint,
        "state_dict": {
            name.removeprefix(start): _copied(value) if stacked else value
            for name, value in joint["state_dict"].items()
            if name.startswith(start)
        },
        "optimizer_states": [
            {"state": state, "param_groups": [{**group, "params": list(range(count))}]}
        ],
    }


def join(checkpoints: Sequence[Mapping[str, Any]], *, stacked: bool) -> dict[str, Any]:
    """Return the joint checkpoint of replicas of one epoch; it has no callbacks' states."""
    states = [checkpoint["optimizer_states"][0] for checkpoint in checkpoints]
    group = states[0]["param_groups"][0]
    count = len(group["params"])
    if stacked:
        state = {
            index: {name: _joined([own["state"][index][name] for own in states]) for name in values}
            for index, values in states[0]["state"].items()
        }
    else:
        state = {
            number * count + index: value
            for number, own in enumerate(states)
            for index, value in own["state"].items()
        }
        count *= len(states)
    return {
        **checkpoints[0],
        "callbacks": {},
        "replicas": checkpoints,
        "state_dict": {
            f"{prefix(number)}{name}": value
            for number, checkpoint in enumerate(checkpoints)
            for name, value in checkpoint["state_dict"].items()
        },
        "optimizer_states": [
            {"state": state, "param_groups": [{**group, "params": list(range(count))}]}
        ],
    }


def _own(value: Any, number: int) -> Any:
    """Return a replica's part of what a stacked optimizer keeps: a count is that of all."""
    is_stacked = isinstance(value, Tensor) and value.dim()
    return _copied(stacking.part(value, number)) if is_stacked else value


def _copied(value: Any) -> Any:
    """Return a copy as a single run has it: a view would be written with the weights of all."""
    if not isinstance(value, Tensor):
        return value
    layout = torch.contiguous_format if value.dim() == 2 else torch.preserve_format
    return value.clone(memory_format=layout)


def _joined(values: Sequence[Any]) -> Any:
    is_stacked = isinstance(values[0], Tensor) and values[0].dim()
    return stacking.joined(values) if is_stacked else values[0]
