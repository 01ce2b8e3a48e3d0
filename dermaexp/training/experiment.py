"""One experiment: build, fit, test, write the numbers."""

from __future__ import annotations

import contextlib
import copy
import logging
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, open_dict
from pytorch_lightning.callbacks import (
    Checkpoint,
    EarlyStopping,
    Timer,
    WeightAveraging,
)
from pytorch_lightning.callbacks.early_stopping import EarlyStoppingReason
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor, nn

from dermaexp.core.console import console
from dermaexp.core.errors import UserError
from dermaexp.data.datamodule import ImageDataModule
from dermaexp.data.splits import SPLITS, Splits
from dermaexp.models.adapter import Backbone
from dermaexp.runs.directory import RunDirectory
from dermaexp.training import ddp, trainer_keys
from dermaexp.training.callbacks import (
    AtomicCheckpointIO,
    BestCheckpoint,
    SeedEveryEpoch,
    StayStopped,
    StopAtLimit,
    WholeEpochs,
    load_checkpoint,
)
from dermaexp.training.classifier import Classifier
from dermaexp.training.clock import Clock
from dermaexp.training.distributed import OurProcesses, joined, threads_each
from dermaexp.training.evaluate import evaluate as evaluate_predictions
from dermaexp.training.evaluate import evaluate_leak
from dermaexp.training.tta import VIEWS


@contextlib.contextmanager
def exits_as_errors() -> Iterator[None]:
    """Raise KeyboardInterrupt for Lightning's exit after a signal, UserError for any other exit.

    After Ctrl-C Lightning exits with 1 and leaves Ctrl-C switched off. Another exit is of the
    model's code or a callback's, which must not pass for the end of the program.
    """
    try:
        yield
    except SystemExit as error:
        by_signal = isinstance(error, SIGTERMException) or isinstance(
            error.__context__, KeyboardInterrupt
        )
        if not by_signal:
            raise UserError(
                f"sys.exit({error.code!r}) was called by the model, a callback or another part of "
                "the run: raise an error there instead"
            ) from error
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt from None


@exits_as_errors()
def run(
    config: DictConfig,
    splits: Splits,
    directory: RunDirectory,
    record: dict[str, Any],
    clock: Clock,
    *,
    goes_on: bool = False,
    folder: Path | None = None,
    rank: int = 0,
    meeting: Path | None = None,
) -> float:
    """Train and test what `config` describes, leave it in `directory`, return the val macro AUROC.

    Adds the device to `record`, the content of run.json. All is built in the working directory, for
    paths in the config are relative to it; it is trained and tested in `folder`, if given.
    `goes_on`: from last.ckpt, with the same numbers as if nothing had happened, as far as the
    device repeats them. Only the process of `rank` 0 writes; the others, which it starts, join it
    at `meeting`.
    """
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if config.trainer._target_ == "pytorch_lightning.Trainer":
        trainer_keys.check_names(config.trainer, lightning.Trainer)
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    with clock.part("data"):
        data = build_data(config, splits)
    if config.checkpoint.test_with == "best":
        check_val(data)
    classifier = build_classifier(config, data)
    trainer = build_trainer(config, directory, rank)
    check_shares(config, data, classifier.net, record["choices"]["model"], trainer.world_size)
    record["device"] = describe_device(trainer)
    if isinstance(classifier.net, Backbone):  # which may have found it by trial
        record["input_size"] = classifier.net.side or max(data.image_shape[1:])
    if rank == 0:
        directory.write_run(record)
        job = {"record": record, "directory": str(directory.path), "goes_on": goes_on}
        job["folder"] = folder and str(folder)
        together = ddp.others(trainer, config, job)
    else:
        together = joined(trainer, meeting)
    announce(record["name"], data, count_parameters(classifier), record["device"]["name"])
    if goes_on:  # damage is told now, not when the training is over
        choose_weights(trainer, classifier, directory, config.checkpoint.test_with)
    with together, contextlib.chdir(folder or Path.cwd()):
        trainer.fit(classifier, data, ckpt_path=directory.last_checkpoint if goes_on else None)
        epochs = trainer.current_epoch
        trained = {key: classifier.epoch_metrics[f"train_{key}"] for key in ("loss", "accuracy")}
        best_epoch = choose_weights(trainer, classifier, directory, config.checkpoint.test_with)
        if goes_on and config.checkpoint.test_with == "last":
            load_last_weights(trainer, classifier, directory)
        # Weight averaging would put the last average in the place of the chosen weights.
        trainer.callbacks = [c for c in trainer.callbacks if not isinstance(c, WeightAveraging)]
        trainer.validate(classifier, data, verbose=False)
        trainer.test(classifier, data, verbose=False)
    if rank > 0:
        return float("nan")
    results = {
        "data": record["data"] | describe_images(data, classifier),
        "model": {"name": record["choices"]["model"], "parameters": count_parameters(classifier)},
        "train": trained,
        **evaluate(classifier, splits, calibrate=config.calibrate),
        **evaluate_leak(*classifier.predictions["test"], splits, data.used["test"]),
        "tested_with": config.checkpoint.test_with,
        "best_epoch": best_epoch,
        "epochs": epochs,
        "planned_epochs": trainer.max_epochs,
        "ended_by": ended_by(trainer),
        "seconds": seconds(clock, trainer),
    }
    directory.write_metrics(results)
    return results["val"]["macro_auroc"]


def build_data(config: DictConfig, splits: Splits) -> ImageDataModule:
    return ImageDataModule(
        splits,
        batch_size=config.batch_size,
        grayscale=config.dataset.grayscale,
        seed=config.seed,
        balance=config.sampler.balance,
        limits={split: config.trainer.get(key) for split, key in trainer_keys.LIMITS.items()},
    )


def check_val(data: ImageDataModule) -> None:
    """Raise UserError where val cannot choose the best epoch."""
    if len(set(data.splits.val.labels[data.used["val"]])) < 2:
        used = data.splits.part("val", len(data.used["val"]))
        raise UserError(
            f"val of {data.splits.name} holds one class{'' if used == 'val' else f' ({used})'}: "
            "macro AUROC cannot choose the best epoch; give a val split with more classes, or "
            "checkpoint.test_with=last"
        )


def build_classifier(config: DictConfig, data: ImageDataModule) -> Classifier:
    """The net with the data's shape and classes, and all that it is trained with."""
    classes = len(data.splits.classes)
    net = instantiate(config.model, image_shape=data.image_shape, classes=classes)
    check_net(net, data.image_shape, classes)
    if config.compile:
        net.compile()
    mean, std = standardisation(config.dataset.normalize, data)
    return Classifier(
        net,
        instantiate(config.optimizer),
        instantiate(config.scheduler) or None,
        loss=instantiate(config.loss, counts=data.class_counts),
        augment=instantiate(config.augment, classes=classes),
        test_views=VIEWS[config.test_time_augment],
        mean=mean,
        std=std,
        max_steps=config.trainer.get("max_steps"),
    )


def standardisation(
    normalize: bool | ListConfig, data: ImageDataModule
) -> tuple[Tensor | float, Tensor | float]:
    """Mean and standard deviation of pixels in [0, 1]: none, the training set's, or given ones."""
    if isinstance(normalize, bool):
        return data.channel_statistics() if normalize else (0.0, 1.0)
    mean, std = normalize
    return float(mean), float(std)


def check_net(net: nn.Module, image_shape: tuple[int, int, int], classes: int) -> None:
    """Raise UserError unless `net` gives (N, classes) logits for images of that shape."""
    net.eval()  # as running statistics and random numbers must not be touched
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
        except ValueError as error:  # of batch normalisation, which knows no variance of one value
            raise UserError(
                f"{given} gives a process one image of a batch of {smallest}, from which the batch "
                f"normalisation of model={model} learns nothing: expected at least two for each "
                "process, in the last batch too; or give another model"
            ) from error


def build_trainer(config: DictConfig, directory: RunDirectory, rank: int = 0) -> lightning.Trainer:
    """Lightning's Trainer with the config's callbacks and nothing of its own in the terminal."""
    given = copy.deepcopy(config).trainer
    with open_dict(given):
        for key in trainer_keys.USED_BY_US:
            given.pop(key, None)
    timer = Timer(verbose=False)
    max_seconds = trainer_keys.seconds(config.trainer.get("max_time"))
    limit = StopAtLimit(timer, config.trainer.get("max_steps"), max_seconds)
    callbacks = [instantiate(callback) for callback in config.callbacks.values() if callback]
    # First the timer: its time ends before figures begin.
    ours = [timer, WholeEpochs(), ddp.PlainSigterm(), SeedEveryEpoch(config.seed), StayStopped()]
    trainer = instantiate(
        given,
        callbacks=[*ours, limit, *callbacks],
        plugins=[AtomicCheckpointIO(), OurProcesses(rank)],
        default_root_dir=str(directory.path),
        logger=False,
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # our loader deals the samples out to the processes
    )
    ddp.check(trainer, config.trainer)
    return trainer


def choose_weights(
    trainer: lightning.Trainer, classifier: Classifier, directory: RunDirectory, test_with: str
) -> int | None:
    """Load the best epoch's weights unless the last ones are asked for; returns the best epoch.

    None where best.ckpt is switched off.
    """
    if not any(isinstance(callback, BestCheckpoint) for callback in trainer.callbacks):
        return None
    checkpoint = load_checkpoint(directory.best_checkpoint)
    if test_with == "best":
        classifier.load_state_dict(checkpoint["state_dict"])
    return checkpoint["epoch"] + 1


def load_last_weights(
    trainer: lightning.Trainer, classifier: Classifier, directory: RunDirectory
) -> None:
    """Those of last.ckpt, if it is of the last epoch: with weight averaging the average.

    Where the training had ended before, Lightning leaves the weights without their average.
    """
    checkpoint = load_checkpoint(directory.last_checkpoint)
    if checkpoint["epoch"] + 1 == trainer.current_epoch:
        classifier.load_state_dict(checkpoint["state_dict"])


def ended_by(trainer: lightning.Trainer) -> str | None:
    """What ended the training, if not its last epoch."""
    for callback in trainer.callbacks:
        if isinstance(callback, StopAtLimit) and callback.reached:
            return callback.reached
        if isinstance(callback, EarlyStopping) and (
            callback.stopping_reason != EarlyStoppingReason.NOT_STOPPED
        ):
            return "early_stopping"
    return None


def seconds(clock: Clock, trainer: lightning.Trainer) -> dict[str, float]:
    """Of the data, the fit and the test, without the drawing; the total has it all."""
    (timer,) = (callback for callback in trainer.callbacks if isinstance(callback, Timer))
    fit = timer.time_elapsed("train")
    fit_now = (timer.end_time("train") or 0.0) - (timer.start_time("train") or 0.0)
    values = {
        "data": clock.seconds["data"],
        "fit": fit,
        "test": timer.time_elapsed("test"),
        "total": clock.total() + fit - fit_now,  # with the epochs of earlier attempts
    }
    return {name: round(value, 3) for name, value in values.items()}


def evaluate(classifier: Classifier, splits: Splits, *, calibrate: bool) -> dict[str, Any]:
    """The final numbers as they stand in metrics.json."""
    return evaluate_predictions(
        classifier.predictions, splits.train.labels, splits.classes, calibrate=calibrate
    )


def count_parameters(classifier: Classifier) -> int:
    return sum(parameter.numel() for parameter in classifier.net.parameters())


def describe_device(trainer: lightning.Trainer) -> dict[str, Any]:
    """What the numbers were made on; on a processor they depend on its threads."""
    device = trainer.strategy.root_device
    several = {"processes": trainer.world_size} if trainer.world_size > 1 else {}
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        return {"type": "cuda", "name": name, "cuda": torch.version.cuda, **several}
    threads = threads_each(trainer)
    return {"type": device.type, "name": device.type, "threads": threads, **several}


def describe_images(data: ImageDataModule, classifier: Classifier) -> dict[str, Any]:
    """Size, channels and classes, and the number of images that were really used."""
    channels, height, width = data.image_shape
    used = {split: len(classifier.predictions[split].targets) for split in ("val", "test")}
    return {
        "size": height if height == width else [height, width],
        "channels": channels,
        "classes": list(data.splits.classes),
        "samples": {"train": classifier.trained_samples, **used},
    }


def announce(name: str, data: ImageDataModule, parameters: int, device: str) -> None:
    counts = " / ".join(f"{len(data.splits[split]):,}" for split in SPLITS)
    shape = " x ".join(map(str, data.image_shape))
    console.print(
        f"{name} on {data.splits.title}: {counts} images of {shape}, "
        f"{parameters:,} parameters, on {device}",
        soft_wrap=True,
        markup=False,
    )
