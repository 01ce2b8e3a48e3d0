"""The keys of the group trainer: those that Lightning gets, that we use, that are refused."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dermaexp.core.errors import UserError, nearest

# Keys that experiment.build_trainer sets itself -> what to give instead. A test compares the two.
SET_BY_US = {
    "callbacks": "give the group callbacks, such as 'callbacks=[default,ema]'",
    "plugins": "give trainer.precision or trainer.strategy",
    "default_root_dir": "give hydra.run.dir=DIR",
    "logger": "history.csv and metrics.json hold the numbers; give a callback for others",
    "enable_checkpointing": "give callbacks.best_checkpoint=null callbacks.last_checkpoint=null "
    "checkpoint.test_with=last",
    "enable_progress_bar": "give callbacks.progress=null",
    "enable_model_summary": "the first line of a run reports the number of parameters",
    "num_sanity_val_steps": "give trainer=debug to see that all runs",
    "use_distributed_sampler": "the images of each batch are shared out to the processes",
}
WITHOUT_USE = {  # other keys of Lightning's that would do nothing or break a promise -> the same
    "fast_dev_run": "give trainer=debug",
    "barebones": "give callbacks=none checkpoint.test_with=last report=false",
    "overfit_batches": "give +trainer.limit_train_batches=NUMBER",
    "check_val_every_n_epoch": "every epoch is validated once, to choose the best",
    "val_check_interval": "every epoch is validated once, to choose the best",
    "limit_predict_batches": "give +trainer.limit_test_batches=NUMBER",
    "log_every_n_steps": "history.csv has a row for each epoch",
    "profiler": "profile the whole command, such as python -m cProfile -m dermaexp ...",
    "reload_dataloaders_every_n_epochs": "the images stay in memory, in another order each epoch",
    "enable_autolog_hparams": "run.json holds the config",
    "model_registry": "checkpoints/ holds the weights",
}
REFUSED = SET_BY_US | WITHOUT_USE
LIMITS = {split: f"limit_{split}_batches" for split in ("train", "val", "test")}
# Lightning does not get these: it would take the first images, and end without a validation.
USED_BY_US = ("max_steps", "max_time", *LIMITS.values())

DURATION = re.compile(r"(\d+):([0-5]?\d):([0-5]?\d):([0-5]?\d)")
UNITS = ("weeks", "days", "hours", "minutes", "seconds", "milliseconds", "microseconds")


def _is_bool_or_null(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 1


def _is_count_or_null(value: Any) -> bool:
    return value is None or _is_count(value)


def _is_limit(value: Any) -> bool:
    is_share = type(value) is float and 0 < value <= 1
    return value is None or is_share or _is_count(value)


BOOL = (_is_bool_or_null, "true or false")
COUNT = (_is_count_or_null, "a whole number from 1")
RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "max_epochs": (
        _is_count,
        "a whole number from 1; to end by steps or time, give a large number and "
        "+trainer.max_steps or +trainer.max_time",
    ),
    "min_epochs": COUNT,
    "max_steps": COUNT,
    "min_steps": COUNT,
    "accumulate_grad_batches": (_is_count, "a whole number from 1"),
    "gradient_clip_val": (
        lambda value: value is None or (type(value) in (int, float) and 0 <= value < math.inf),
        "a number from 0, or null",
    ),
    "gradient_clip_algorithm": (lambda value: value in ("norm", "value", None), "norm or value"),
    "precision": (
        lambda value: not str(value).endswith("16-true"),
        "32-true, bf16-mixed, 16-mixed or 64-true",
    ),
    "detect_anomaly": BOOL,
    "deterministic": (
        lambda value: _is_bool_or_null(value) or value == "warn",
        "true, false or warn",
    ),
    "benchmark": BOOL,
    "inference_mode": BOOL,
    "sync_batchnorm": BOOL,
}


def check(trainer: DictConfig) -> None:
    """Raise UserError for a key that is refused or a value that cannot work."""
    given = OmegaConf.to_container(trainer, resolve=True)
    for key, instead in REFUSED.items():
        if key in given:
            raise UserError(f"trainer.{key} is not supported: {instead}")
    for key, (is_valid, expected) in RULES.items():
        needed = key in given or key == "max_epochs"  # without which Lightning trains 1,000
        if needed and not is_valid(given.get(key)):
            raise UserError(f"trainer.{key}={_text(given.get(key))}: expected {expected}")
    for split, key in LIMITS.items():
        if not _is_limit(given.get(key)):
            nothing = " leaves nothing" if given[key] in (0, False) else ""
            raise UserError(
                f"trainer.{key}={_text(given[key])}{nothing}: expected a number of batches from 1, "
                f"or a share of the {split} images such as 0.5"
            )
    seconds(given.get("max_time"))
    if given.get("gradient_clip_algorithm") and given.get("gradient_clip_val") is None:
        raise UserError(
            "trainer.gradient_clip_algorithm does nothing without trainer.gradient_clip_val: give "
            "the largest norm or value too"
        )
    _check_order(given, "min_epochs", "max_epochs")
    _check_order(given, "min_steps", "max_steps")
    if given.get("max_steps") and given.get("min_epochs"):
        raise UserError(
            "trainer.max_steps and trainer.min_epochs exclude each other: give trainer.min_steps"
        )


def check_names(trainer: Mapping[str, Any], maker: Callable[..., Any]) -> None:
    """Raise UserError for a key that `maker`, Lightning's Trainer, does not take.

    Apart from `check`, as it needs Lightning.
    """
    parameters = inspect.signature(maker).parameters
    if any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    valid = [name for name in parameters if name not in REFUSED]
    for key in trainer:
        if not str(key).startswith("_") and key not in valid:
            hint = nearest(str(key), valid)
            raise UserError(f"trainer has no key {key}: {hint}")


def seconds(max_time: str | Mapping[str, float] | None) -> float | None:
    """`max_time` in seconds, of "DD:HH:MM:SS" or of a dict such as {minutes: 90}."""
    if max_time is None:
        return None
    wrong = UserError(
        f"trainer.max_time={_text(max_time)}: expected a time above 0, such as 00:01:30:00 "
        "(days:hours:minutes:seconds) or {minutes: 90}"
    )
    parts: dict[str, Any] = {}
    if isinstance(max_time, str) and (match := DURATION.fullmatch(max_time.strip())):
        parts = dict(zip(UNITS[1:5], map(int, match.groups()), strict=True))
    elif isinstance(max_time, Mapping):
        parts = {str(key): value for key, value in max_time.items()}
    is_number = all(type(value) in (int, float) and value >= 0 for value in parts.values())
    if not is_number or set(parts) - set(UNITS):
        raise wrong
    try:
        found = timedelta(**parts).total_seconds()
    except (OverflowError, ValueError):  # NaN too
        raise wrong from None
    if found <= 0:
        raise wrong
    return found


def _check_order(given: Mapping[str, Any], low: str, high: str) -> None:
    if given.get(low) and given.get(high) and given[low] > given[high]:
        raise UserError(
            f"trainer.{low}={given[low]} is above trainer.{high}={given[high]}: expected at most "
            f"{given[high]}"
        )


def _text(value: Any) -> str:
    """The value as it is typed on the command line."""
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))
