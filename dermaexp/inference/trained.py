"""The trained model of a run: from images of its size to probabilities, as its test had them."""

from __future__ import annotations

import contextlib
import functools
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from dermaexp.core import allocator
from dermaexp.core.errors import UserError, one_line
from dermaexp.core.overrides import command, escaped
from dermaexp.core.tasks import Task, task_of
from dermaexp.data.pictures import BACKGROUND
from dermaexp.models.build import build_net
from dermaexp.models.files import is_file
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.finished import Shape, finished, shape_of, tested_checkpoint
from dermaexp.runs.metrics_file import Metrics
from dermaexp.runs.record import RunRecord
from dermaexp.training.callbacks import load_checkpoint
from dermaexp.training.probabilities import CALIBRATED, PROBABILITIES
from dermaexp.training.tta import VIEWS

NET = "net."  # begins the model's keys in a checkpoint
LUMA, HALF, ONE = (19595, 38470, 7471), 1 << 15, 1 << 16  # as data.gray.luma


class TrainedModel(nn.Module):
    """Maps uint8 images (N, C, H, W) to probabilities (N, K), of several labels each by itself.

    Takes colour images for a model of gray ones. Averages the run's test-time views, and divides
    logits by its temperature if it was calibrated.
    """

    def __init__(
        self,
        net: nn.Module,
        mean: Tensor,
        std: Tensor,
        *,
        image_shape: Shape,
        classes: Sequence[str],
        views: Callable[[Tensor], list[Tensor]],
        temperature: float | None,
        task: Task = "multi-class",
        background: str = BACKGROUND,
    ) -> None:
        super().__init__()
        self.net = net
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.image_shape = image_shape
        self.classes = tuple(classes)
        self.views = views
        self.temperature = temperature
        self.task: Task = task
        self.background = background  # of transparent pictures

    def forward(self, images: Tensor) -> Tensor:
        pixels = self.prepared(images)
        answers = [PROBABILITIES[self.task](self.logits(view)) for view in self.views(pixels)]
        probabilities = functools.reduce(torch.add, answers) / len(answers)
        if self.temperature is None:
            return probabilities
        return CALIBRATED[self.task](probabilities, self.temperature)

    def logits(self, pixels: Tensor) -> Tensor:
        """Return the logits (N, K) of images (N, C, H, W) in [0, 1]."""
        return self.net((pixels - self.mean) / self.std).float()

    def prepared(self, images: Tensor) -> Tensor:
        """Return float images in [0, 1] with the model's number of channels."""
        if self.image_shape[0] == 1 and images.shape[1] == 3:
            weights = torch.tensor(LUMA, device=images.device).view(1, 3, 1, 1)
            images = ((images.int() * weights).sum(dim=1, keepdim=True) + HALF) // ONE
        return images.expand(-1, self.image_shape[0], -1, -1).float() / 255


def trained_model(directory: RunDirectory) -> TrainedModel:
    """Return the model with the weights that the run was tested with, in eval mode on the CPU.

    Raises UserError for a run that has not finished, and for a checkpoint that is missing, damaged
    or of another model.
    """
    allocator.keep_freed_memory()
    record, metrics = finished(directory)
    config = config_to_load(record, metrics)
    image_shape = shape_of(metrics)
    classes = metrics["data"]["classes"]
    path, state = tested_weights(directory, metrics)
    with torch.random.fork_rng(devices=()):
        net = build_net(config, image_shape, len(classes))
    transform_as_trained(net, record)
    weights = {key.removeprefix(NET): state[key] for key in state if key.startswith(NET)}
    with naming_the_checkpoint(path):
        net.load_state_dict(weights)
    calibration = metrics.get("calibration")
    model = TrainedModel(
        net,
        state["mean"],
        state["std"],
        image_shape=image_shape,
        classes=classes,
        views=VIEWS[config.test_time_augment],
        temperature=calibration["temperature"] if calibration else None,
        task=task_of(metrics["data"]),
        background=config.dataset.get("background") or BACKGROUND,
    )
    return model.eval()


def config_to_load(record: RunRecord, metrics: Metrics) -> DictConfig:
    """Return the run's config with a model that downloads no weights: the checkpoint has them."""
    config = OmegaConf.create(escaped(record["config"]))
    if "input_size" in record:  # torchvision's or timm's
        config.model.weights = None
        if record["input_size"] != max(shape_of(metrics)[1:]):  # else images keep their size
            config.model.size = record["input_size"]
    return config


def transform_as_trained(net: nn.Module, record: RunRecord) -> None:
    """Let torchvision's Inception and GoogLeNet transform their input, as their weights need."""
    inner: Any = getattr(net, "net", None)
    weights = record["config"]["model"].get("weights")
    if weights is not None and not is_file(weights) and hasattr(inner, "transform_input"):
        inner.transform_input = True


def tested_weights(directory: RunDirectory, metrics: Metrics) -> tuple[Path, dict[str, Tensor]]:
    """Return the checkpoint that the run was tested with and the weights in it.

    Raises UserError where it is missing or damaged, with the command that trains the run again.
    """
    path = tested_checkpoint(directory, metrics)
    try:
        return path, load_checkpoint(path)["state_dict"]
    except UserError:
        state = "damaged" if path.exists() else "missing; `python -m dermaexp rm` frees checkpoints"
        raise UserError(f"{path} is {state}: {_again(directory)}") from None


def _again(directory: RunDirectory) -> str:
    """Say how to get the weights again: resume=DIR would find the run finished."""
    record = directory.read_run()
    if "start" not in record:
        return "train a new run with the config in its run.json"
    start = record["start"]
    where = shlex.join(["cd", start["folder"]])
    return f"train a new run, {where} && {command(*start['arguments'])}"


@contextlib.contextmanager
def naming_the_checkpoint(path: Path) -> Iterator[None]:
    """Raise torch's error as a UserError, where the weights of `path` do not fit the model."""
    try:
        yield
    except RuntimeError as error:
        raise UserError(f"{path} is of another model than the run: {one_line(error)}") from error
