"""What a config describes, built and checked: data module, classifier and Lightning's Trainer."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytorch_lightning as lightning
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from pytorch_lightning import Callback
from pytorch_lightning.callbacks import Checkpoint, Timer
from torch import Tensor, nn
from torch.optim import Optimizer

from dermaexp.core.errors import UserError
from dermaexp.data.datamodule import ImageDataModule
from dermaexp.data.splits import Splits
from dermaexp.metrics.labels import indicators
from dermaexp.models import weights
from dermaexp.models.adapter import Backbone
from dermaexp.models.build import build_net, takes_weights
from dermaexp.runs.directory import RunDirectory
from dermaexp.training import trainer_keys
from dermaexp.training.callbacks import (
    AtomicCheckpointIO,
    SeedEveryEpoch,
    StayStopped,
    StopAtLimit,
    TrackEpochs,
    WholeEpochs,
)
from dermaexp.training.classifier import Classifier
from dermaexp.training.cluster import PlainSigterm, check_processes, environment
from dermaexp.training.finetune import Freeze, checked_head
from dermaexp.training.label_losses import COUNTERPARTS, UNSUITED
from dermaexp.training.logger import Trackers
from dermaexp.training.tta import VIEWS

if TYPE_CHECKING:
    from dermaexp.runs.record import InitialWeights


def build_data(config: DictConfig, splits: Splits) -> ImageDataModule:
    """Return the data module; UserError where its val split cannot choose the best epoch."""
    channels = config.dataset.get("channels")
    if channels and config.dataset.grayscale and splits.train.images.shape[-1] == 3:
        raise UserError(
            f"dataset.channels={channels} repeats the channel of gray images, and {splits.name} "
            "has colour: give dataset.grayscale=false"
        )
    data = ImageDataModule(
        splits,
        channels=channels,
        batch_size=config.batch_size,
        grayscale=config.dataset.grayscale,
        seed=config.seed,
        balance=config.sampler.balance,
        limits={split: config.trainer.get(key) for split, key in trainer_keys.LIMITS.items()},
    )
    if config.checkpoint.test_with == "best":
        _check_val(data)
    return data


def build_classifier(
    config: DictConfig, data: ImageDataModule, initial: InitialWeights | None = None
) -> Classifier:
    """Return the model for the data's shape and classes, with all that it is trained with.

    Loads the `initial` weights; the classifier's `notes` say what was taken of them.
    """
    classes = len(data.splits.classes)
    net = build_net(config, data.image_shape, classes)
    _check_net(net, data.image_shape, classes)
    loads_itself = takes_weights(config.model._target_) and not isinstance(net, Backbone)
    loaded = _loaded(net, initial, config, data) if initial and not loads_itself else None
    if config.compile:
        net.compile()
    mean, std = (loaded and loaded.statistics) or _standardisation(config.dataset.normalize, data)
    finetune = instantiate(config.get("finetune") or {}) or None
    notes = [f"weights of {loaded.file}: {loaded}"] if loaded else []
    if loaded or (isinstance(net, Backbone) and config.model.get("weights")):
        notes.append(_standardised_by(net, mean, std))
    return Classifier(
        net,
        build_optimizer(config),
        instantiate(config.scheduler) or None,
        loss=build_loss(config.loss, data),
        augment=instantiate(config.augment, classes=classes),
        test_views=VIEWS[config.test_time_augment],
        mean=mean,
        std=std,
        max_steps=config.trainer.get("max_steps"),
        task=data.splits.task,
        finetune=finetune,
        head=checked_head(net, classes) if finetune else "",
        notes=notes,
    )


def build_optimizer(config: DictConfig) -> Callable[..., Optimizer]:
    """Return what makes the optimizer of parameters, fused unless the config says otherwise.

    With mixed precision, Lightning does not clip the gradients of a fused one.
    """
    optimizer = instantiate(config.optimizer)
    precision = str(config.trainer.get("precision"))
    clips = "mixed" in precision and bool(config.trainer.get("gradient_clip_val"))
    unfused = clips or precision in ("16", "16-mixed")
    if config.optimizer.get("fused", False) is None and not unfused:
        return functools.partial(optimizer, fused=True)
    return optimizer


def build_loss(loss: DictConfig, data: ImageDataModule) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss of the config, or its counterpart for data with several labels an image.

    A loss of one's own is taken as it is. Raises UserError for one that has no counterpart.
    """
    if data.splits.task != "multi-label":
        return instantiate(loss, counts=data.class_counts)
    target = loss["_target_"]
    if target in UNSUITED:
        raise UserError(
            f"{UNSUITED[target]}, but an image of {data.splits.name} has several labels: expected "
            "loss=cross_entropy, weighted or focal, which then are binary ones of each label"
        )
    if target not in COUNTERPARTS:
        return instantiate(loss, counts=data.class_counts)
    options = {str(key): value for key, value in loss.items() if not str(key).startswith("_")}
    images = len(data.splits.train)
    return COUNTERPARTS[target](counts=data.class_counts, images=images, **options)


def build_trainer(
    config: DictConfig,
    directory: RunDirectory,
    timer: Timer,
    others: Sequence[Callback] = (),
    checkpoint_io: AtomicCheckpointIO | None = None,
) -> lightning.Trainer:
    """Return Lightning's Trainer with the config's callbacks and `others`.

    It prints nothing of its own.
    """
    given = copy.deepcopy(config.trainer)
    with open_dict(given):
        for key in trainer_keys.USED_BY_US:
            given.pop(key, None)
    max_seconds = trainer_keys.seconds(config.trainer.get("max_time"))
    limit = StopAtLimit(timer, config.trainer.get("max_steps"), max_seconds)
    callbacks = [instantiate(callback) for callback in config.callbacks.values() if callback]
    # The timer comes first: its time ends before figures begin.
    ours = [
        timer,
        WholeEpochs(),
        PlainSigterm(),
        SeedEveryEpoch(config.seed),
        StayStopped(),
        TrackEpochs(),
    ]
    if config.get("finetune"):
        ours.append(Freeze(instantiate(config.finetune)))
    trainer = instantiate(
        given,
        callbacks=[*ours, limit, *others, *callbacks],
        plugins=[checkpoint_io or AtomicCheckpointIO(), environment()],
        default_root_dir=str(directory.path),
        logger=Trackers(config, directory),
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # the data module shares the samples out
    )
    check_processes(trainer, config.trainer)
    return trainer


def check_shares(
    config: DictConfig, data: ImageDataModule, net: nn.Module, model: str, processes: int
) -> None:
    """Raise UserError where a process's share of a training batch is too small to train `net`."""
    batches = data.batches("train", processes=processes)
    smallest = min(end - start for start, end in batches.bounds)
    given = f"batch_size={config.batch_size}"
    if smallest == batches.samples:  # there is one batch
        given = f"train with {smallest} image{'s' if smallest > 1 else ''}"
    if smallest < processes:
        raise UserError(
            f"{given} leaves a process without an image: expected at least {processes} images in a "
            f"batch, one for each of the {processes} processes"
        )
    if smallest // processes > 1 or config.trainer.get("sync_batchnorm"):
        return
    trained = copy.deepcopy(net)  # the trial must not touch running statistics
    with torch.no_grad(), torch.random.fork_rng(devices=()):
        try:
            trained.train()(torch.zeros(1, *data.image_shape))
        except ValueError as error:  # batch normalisation has no variance of one value
            raise UserError(
                f"{given} gives a process one image of a batch of {smallest}, from which the batch "
                f"normalisation of model={model} learns nothing: expected at least two for each "
                "process, in the last batch too; or give another model"
            ) from error


def _loaded(
    net: nn.Module, initial: InitialWeights, config: DictConfig, data: ImageDataModule
) -> weights.Loaded:
    """Load the file into `net`, with its statistics of pixels unless the config gives others."""
    file = initial["file"]
    return weights.load(
        net,
        weights.read(Path(file)),
        file,
        channels=data.image_shape[0],
        classes=len(data.splits.classes),
        keep_statistics=config.dataset.normalize is False,
    )


def _standardised_by(net: nn.Module, mean: Tensor | float, std: Tensor | float) -> str:
    """Return how images are standardised, by the classifier and then by a Backbone, in words."""
    means, stds = torch.as_tensor(mean), torch.as_tensor(std)
    if isinstance(net, Backbone):
        means, stds = means + stds * net.mean, stds * net.std
    texts = [", ".join(f"{v:.3g}" for v in values.flatten().tolist()) for values in (means, stds)]
    return f"images in [0, 1] are standardised by mean {texts[0]} and std {texts[1]}"


def _check_val(data: ImageDataModule) -> None:
    is_class = indicators(data.splits.val.labels[data.used["val"]], len(data.splits.classes))
    if not (is_class.any(axis=0) & ~is_class.all(axis=0)).any():
        used = data.splits.part("val", len(data.used["val"]))
        held = "one class" if data.splits.task != "multi-label" else "images with equal labels"
        raise UserError(
            f"val of {data.splits.name} holds {held}{'' if used == 'val' else f' ({used})'}: "
            "macro AUROC cannot choose the best epoch; give a val split with more classes, or "
            "checkpoint.test_with=last"
        )


def _check_net(net: nn.Module, image_shape: tuple[int, int, int], classes: int) -> None:
    """Raise UserError unless `net` gives (N, classes) logits for images of that shape."""
    net.eval()  # the trial must touch neither running statistics nor random numbers
    with torch.no_grad():
        try:
            shape = tuple(net(torch.zeros(2, *image_shape)).shape)
        except (RuntimeError, TypeError, ValueError) as error:
            raise UserError(f"model fails on images of {image_shape}: {error}") from error
    if shape != (2, classes):
        raise UserError(
            f"model gives {shape} for 2 images: expected (2, {classes}), a logit for each class"
        )
    net.train()


def _standardisation(
    normalize: bool | ListConfig, data: ImageDataModule
) -> tuple[Tensor | float, Tensor | float]:
    """Mean and standard deviation of pixels in [0, 1]: none, the training set's, or given ones."""
    if isinstance(normalize, bool):
        return data.channel_statistics() if normalize else (0.0, 1.0)
    values = cast(list[Any], OmegaConf.to_container(normalize))
    mean, std = map(torch.tensor, values)
    if mean.dim() and len(mean) != data.image_shape[0]:
        raise UserError(
            f"dataset.normalize has the values of {len(mean)} channels, but the images have "
            f"{data.image_shape[0]}: give [mean, std] or dataset.grayscale=false"
        )
    return mean.float(), std.float()
