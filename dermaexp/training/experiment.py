"""One experiment: build, fit, select weights, predict, evaluate, write the numbers."""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as lightning
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Timer
from torch import nn

from dermaexp.core import allocator, processes
from dermaexp.core.console import console, print_note
from dermaexp.core.errors import UserError
from dermaexp.core.overrides import escaped
from dermaexp.data.datamodule import ImageDataModule
from dermaexp.data.splits import SPLITS, Splits
from dermaexp.metrics.predictions import Predictions
from dermaexp.models.adapter import Backbone
from dermaexp.runs.directory import RunDirectory
from dermaexp.training import distributed, trainer_keys
from dermaexp.training.build import build_classifier, build_data, build_trainer, check_shares
from dermaexp.training.callbacks import PruneTrial
from dermaexp.training.clock import Clock
from dermaexp.training.lightning_internals import is_signal
from dermaexp.training.logger import Trackers
from dermaexp.training.steps import (
    Fitted,
    check_checkpoints,
    evaluate,
    fit,
    predict,
    select_weights,
)


@contextlib.contextmanager
def exits_as_errors() -> Iterator[None]:
    """Raise KeyboardInterrupt for Lightning's exit after a signal, UserError for any other exit.

    After Ctrl-C Lightning exits with 1 and leaves Ctrl-C switched off. Another exit comes from the
    model's code or a callback, and must not pass for the end of the program.
    """
    try:
        yield
    except SystemExit as error:
        if not is_signal(error):
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
    resumed: bool = False,
    folder: Path | None = None,
    trial: Mapping[str, Any] | None = None,
) -> None:
    """Train and test what `config` describes, and write it to `directory`.

    Adds the device to `record`, the content of run.json. Builds everything in the working
    directory, as paths in the config are relative to it; trains and tests in `folder`, if given.
    `resumed` starts from last.ckpt, with the numbers of an uninterrupted run as far as the device
    repeats them. `trial` describes what `instantiate` makes a `training.trial.Trial` of; where that
    prunes the run, it ends after its fit, and `record` gets "pruned_after". In a run of several
    processes all of them call it; process 0 alone writes. Where they do not exist yet, it starts
    them and waits.
    """
    quieten_lightning()
    allocator.keep_freed_memory()
    if config.trainer._target_ == "pytorch_lightning.Trainer":
        trainer_keys.check_names(config.trainer, lightning.Trainer)
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    with clock.part("data"):
        data = build_data(config, splits)
    initial = None if resumed else record.get("initial_weights")  # a checkpoint has them
    classifier = build_classifier(config, data, initial)
    timer = Timer(verbose=False)
    pruning = [PruneTrial(instantiate(trial) if processes.rank() == 0 else None)] if trial else []
    trainer = build_trainer(config, directory, timer, pruning)
    check_shares(config, data, classifier.net, record["choices"]["model"], trainer.world_size)
    if resumed:
        check_checkpoints(trainer, directory)
    job = {
        "config": escaped(OmegaConf.to_container(config, resolve=True)),
        "directory": str(directory.path),
        "record": record,
        "resumed": resumed,
        "folder": folder and str(folder),
        "trial": trial and dict(trial),
    }
    if trainer.world_size > 1 and not processes.are_launched():
        return _run_in_processes(job, trainer.world_size, record, directory)
    record["device"] = describe_device(trainer)
    if isinstance(classifier.net, Backbone):  # it may have found its size by trial
        record.setdefault("input_size", classifier.net.side or max(data.image_shape[1:]))
    _write_record(record, directory)
    for note in classifier.notes:
        print_note(note)
    parameters = count_parameters(classifier.net)
    announce(record["name"], data, parameters, record["device"]["name"])
    trackers = cast(Trackers, trainer.logger)
    with trackers.tracking(record):
        with distributed.together(trainer, job), exits_as_errors(), contextlib.chdir(folder or "."):
            fitted = fit(trainer, classifier, data, directory.last_checkpoint if resumed else None)
            if any(callback.pruned for callback in pruning):
                record["pruned_after"] = fitted.epochs
                return _write_record(record, directory)
            selected = select_weights(fitted, directory, config.checkpoint.test_with)
            predictions = predict(trainer, classifier, data, selected.weights)
        if processes.rank() > 0:
            return
        results = {
            **_facts(record, data, fitted, predictions, parameters),
            **evaluate(predictions, data, calibrate=config.calibrate),
            "tested_with": config.checkpoint.test_with,
            "best_epoch": selected.best_epoch,
            "epochs": fitted.epochs,
            "planned_epochs": fitted.planned_epochs,
            "ended_by": fitted.ended_by,
            "seconds": seconds(clock, timer),
        }
        directory.write_metrics(results)
        trackers.conclude(results)


def quieten_lightning() -> None:
    """Let Lightning log no hints, only warnings."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _run_in_processes(
    job: Mapping[str, Any], count: int, record: dict[str, Any], directory: RunDirectory
) -> None:
    """Start the processes that run the job, and wait for them."""
    from dermaexp.training import elastic  # with torch's agent, which few runs need

    try:
        elastic.launch(job, count)
    finally:
        record |= directory.read_run()  # with the device, which process 0 has added


def _facts(
    record: Mapping[str, Any],
    data: ImageDataModule,
    fitted: Fitted,
    predictions: Mapping[str, Predictions],
    parameters: int,
) -> dict[str, Any]:
    """Return what metrics.json says of data, model and training beside the numbers."""
    used = {split: len(predictions[split].targets) for split in ("val", "test")}
    return {
        "data": record["data"] | describe_images(data, {"train": fitted.samples, **used}),
        "model": {"name": record["choices"]["model"], "parameters": parameters},
        "train": fitted.train,
    }


def _write_record(record: Mapping[str, Any], directory: RunDirectory) -> None:
    if processes.rank() == 0:
        directory.write_run(record)


def seconds(clock: Clock, timer: Timer) -> dict[str, float]:
    """Seconds of the data, the fit and the test without the figures, and of all together."""
    fit = timer.time_elapsed("train")
    fit_now = (timer.end_time("train") or 0.0) - (timer.start_time("train") or 0.0)
    values = {
        "data": clock.seconds["data"],
        "fit": fit,
        "test": timer.time_elapsed("test"),
        "total": clock.total() + fit - fit_now,  # with the epochs of earlier attempts
    }
    return {name: round(value, 3) for name, value in values.items()}


def count_parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def describe_device(trainer: lightning.Trainer) -> dict[str, Any]:
    """Return what the numbers are made on; on a CPU they depend on the number of threads."""
    device = trainer.strategy.root_device
    several = {"processes": trainer.world_size} if trainer.world_size > 1 else {}
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        return {"type": "cuda", "name": name, "cuda": torch.version.cuda, **several}
    threads = torch.get_num_threads()
    return {"type": device.type, "name": device.type, "threads": threads, **several}


def describe_images(data: ImageDataModule, samples: dict[str, int]) -> dict[str, Any]:
    """Return size, channels and classes, and how many images of each split were used."""
    channels, height, width = data.image_shape
    return {
        "size": height if height == width else [height, width],
        "channels": channels,
        "classes": list(data.splits.classes),
        "samples": samples,
    }


def announce(name: str, data: ImageDataModule, parameters: int, device: str) -> None:
    """Print the first line of a run."""
    counts = " / ".join(f"{len(data.splits[split]):,}" for split in SPLITS)
    shape = " x ".join(map(str, data.image_shape))
    console.print(
        f"{name} on {data.splits.title}: {counts} images of {shape}, "
        f"{parameters:,} parameters, on {device}",
        soft_wrap=True,
        markup=False,
    )
