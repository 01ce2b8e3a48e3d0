"""The keys of the config group trainer: passed to Lightning, used by us, or refused."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from annotated_types import Predicate
from pydantic import BeforeValidator, Field, model_validator

from dermaexp.core.errors import UserError, nearest
from dermaexp.core.rules import Count, Flag, NotNegative, Rules

# Keys that build.build_trainer sets itself -> what to give instead. A test compares the two.
SET_BY_US = {
    "callbacks": "give the config group callbacks, such as 'callbacks=[default,ema]'",
    "plugins": "give trainer.precision or trainer.strategy",
    "default_root_dir": "give hydra.run.dir=DIR",
    "logger": "give the config group logger, such as logger=tensorboard",
    "enable_checkpointing": "give callbacks.best_checkpoint=null callbacks.last_checkpoint=null "
    "checkpoint.test_with=last",
    "enable_progress_bar": "give callbacks.progress=null",
    "enable_model_summary": "the first line of a run reports the number of parameters",
    "num_sanity_val_steps": "give trainer=debug, which tries the whole run on a few batches",
    "use_distributed_sampler": "each batch is split over the processes",
}
WITHOUT_USE = {  # Lightning's keys that would do nothing or break a promise -> the same
    "fast_dev_run": "give trainer=debug",
    "barebones": "give callbacks=none checkpoint.test_with=last report=false",
    "overfit_batches": "give +trainer.limit_train_batches=NUMBER",
    "check_val_every_n_epoch": "every epoch is validated once, to choose the best",
    "val_check_interval": "every epoch is validated once, to choose the best",
    "limit_predict_batches": "give +trainer.limit_test_batches=NUMBER",
    "log_every_n_steps": "history.csv has a row for each epoch",
    "profiler": "profile the whole command, such as python -m cProfile -m dermaexp ...",
    "reload_dataloaders_every_n_epochs": "the images stay in memory and are shuffled each epoch",
    "enable_autolog_hparams": "run.json holds the config",
    "model_registry": "checkpoints/ holds the weights",
}
REFUSED = SET_BY_US | WITHOUT_USE
LIMITS = {split: f"limit_{split}_batches" for split in ("train", "val", "test")}
# Not passed to Lightning, which would take the first images and end without a validation.
USED_BY_US = ("max_steps", "max_time", *LIMITS.values())

DURATION = re.compile(r"(\d+):([0-5]?\d):([0-5]?\d):([0-5]?\d)")
UNITS = ("weeks", "days", "hours", "minutes", "seconds", "milliseconds", "microseconds")


def seconds(max_time: str | Mapping[str, float] | None) -> float | None:
    """Return `max_time` in seconds, from "DD:HH:MM:SS" or a dict such as {minutes: 90}.

    Raises ValueError for anything else, and for no time at all.
    """
    if max_time is None:
        return None
    parts: dict[str, Any] = {}
    if isinstance(max_time, str) and (match := DURATION.fullmatch(max_time.strip())):
        parts = dict(zip(UNITS[1:5], map(int, match.groups()), strict=True))
    elif isinstance(max_time, Mapping):
        parts = {str(key): value for key, value in max_time.items()}
    if any(type(value) not in (int, float) or value < 0 for value in parts.values()):
        raise ValueError("a part is not a number from 0")
    try:
        found = timedelta(**parts).total_seconds()
    except (OverflowError, TypeError) as error:  # TypeError: a unit that it does not know
        raise ValueError(str(error)) from None
    if found <= 0:
        raise ValueError("no time")
    return found


Epochs = Annotated[
    Count,
    Field(
        description="a whole number from 1; to end by steps or time, give a large number and "
        "+trainer.max_steps or +trainer.max_time"
    ),
]
Limit = Annotated[
    Count | Annotated[float, Field(strict=True, gt=0, le=1)],
    Field(description="a number of batches from 1, or a share of the images such as 0.5"),
]
Time = Annotated[
    float | None,
    BeforeValidator(seconds),
    Field(
        description="a time above 0, such as 00:01:30:00 (days:hours:minutes:seconds) or "
        "{minutes: 90}"
    ),
]
Clip = Annotated[NotNegative, Field(description="a number from 0, or null")]
Precision = Annotated[
    Any,
    Predicate(lambda value: not re.search("16-true$|^64", str(value))),
    Field(description="32-true, bf16-mixed or 16-mixed"),
]
Strategy = Annotated[
    Any,
    Predicate(lambda value: not isinstance(value, str) or re.match("auto$|ddp", value)),
    Field(description="auto or ddp, where each device holds the whole model"),
]
Accelerator = Annotated[Any, Field(description="auto, cpu, gpu or another of Lightning's")]
Devices = Annotated[Any, Field(description="a number, a list of indices or auto")]
Deterministic = Annotated[Flag | Literal["warn"], Field(description="true, false or warn")]


class TrainerConfig(Rules):
    accelerator: Accelerator = None
    devices: Devices = None
    num_nodes: Count = 1
    strategy: Strategy = None
    max_epochs: Epochs  # without which Lightning trains 1,000
    min_epochs: Count | None = None
    max_steps: Count | None = None
    min_steps: Count | None = None
    max_time: Time = None
    limit_train_batches: Limit | None = None
    limit_val_batches: Limit | None = None
    limit_test_batches: Limit | None = None
    accumulate_grad_batches: Count = 1
    gradient_clip_val: Clip | None = None
    gradient_clip_algorithm: Literal["norm", "value"] | None = None
    precision: Precision = None
    detect_anomaly: Flag | None = None
    deterministic: Deterministic | None = None
    benchmark: Flag | None = None
    inference_mode: Flag | None = None
    sync_batchnorm: Flag | None = None

    @model_validator(mode="before")
    @classmethod
    def _has_no_refused_key(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        for key, instead in REFUSED.items():
            if key in values:
                raise UserError(f"trainer.{key} is not supported: {instead}")
        return values

    @model_validator(mode="after")
    def _clips_by_a_value(self) -> Self:
        if self.gradient_clip_algorithm and self.gradient_clip_val is None:
            raise UserError(
                "trainer.gradient_clip_algorithm does nothing without trainer.gradient_clip_val: "
                "give the largest norm or value too"
            )
        return self

    @model_validator(mode="after")
    def _ends_after_its_least(self) -> Self:
        for unit in ("epochs", "steps"):
            low, high = getattr(self, f"min_{unit}"), getattr(self, f"max_{unit}")
            if low and high and low > high:
                raise UserError(
                    f"trainer.min_{unit}={low} is above trainer.max_{unit}={high}: expected at "
                    f"most {high}"
                )
        if self.max_steps and self.min_epochs:
            raise UserError(
                "trainer.max_steps and trainer.min_epochs exclude each other: give "
                "trainer.min_steps"
            )
        return self


def check_names(trainer: Mapping[str, Any], maker: Callable[..., Any]) -> None:
    """Raise UserError for a key that `maker`, Lightning's Trainer, does not take.

    Not part of TrainerConfig, as it needs Lightning.
    """
    parameters = inspect.signature(maker).parameters
    if any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    valid = [name for name in parameters if name not in REFUSED]
    for key in trainer:
        if not str(key).startswith("_") and key not in valid:
            hint = nearest(str(key), valid)
            raise UserError(f"trainer has no key {key}: {hint}")
