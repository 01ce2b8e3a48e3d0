"""Checks of the config's own keys before anything is loaded: no torch here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig, OmegaConf

from dermaexp.core.errors import UserError, nearest
from dermaexp.data.folds import FOLDS
from dermaexp.data.groups import GROUP_COLUMN
from dermaexp.training import trainer_keys

LARGEST_SEED = 2**32 - 1  # NumPy's


def _whole(low: int, high: float = float("inf")) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and low <= value <= high


def _whole_or_null(low: int) -> Callable[[Any], bool]:
    return lambda value: value is None or _whole(low)(value)


def _is_text_or_null(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value != "")


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_positive(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < math.inf


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


def _is_share_or_null(value: Any) -> bool:
    return value is None or _is_share(value)


def _is_normalize(value: Any) -> bool:
    is_pair = isinstance(value, ListConfig) and len(value) == 2
    return _is_bool(value) or (
        is_pair
        and all(type(number) in (int, float) and abs(number) < math.inf for number in value)
        and value[1] > 0
    )


# key -> (what it must fulfil, the same in words)
RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (lambda value: type(value) in (str, int, float) and value != "", "some text"),
    "seed": (_whole(0, LARGEST_SEED), f"a whole number from 0 to {LARGEST_SEED}"),
    "epochs": (_whole(1), "a whole number from 1"),
    "batch_size": (_whole(1), "a whole number from 1"),
    "report": (_is_bool, "true or false"),
    "calibrate": (_is_bool, "true or false"),
    "sweep.stop_on_failure": (_is_bool, "true or false"),
    "checkpoint.test_with": (lambda value: value in ("best", "last"), "best or last"),
    "dataset.grayscale": (_is_bool, "true or false"),
    "dataset.normalize": (_is_normalize, "true, false or [mean, std] of pixels in [0, 1]"),
    "dataset.groups": (_is_text_or_null, "the path of a CSV file, or null"),
    "dataset.group_column": (_is_text_or_null, "the name of a column"),
    "dataset.split": (lambda value: value in ("official", "grouped", None), "official or grouped"),
    "dataset.folds": (_whole_or_null(2), "a whole number from 2"),
    "dataset.fold": (_whole_or_null(0), "a whole number from 0"),
    "sampler.balance": (_is_share, "a number from 0 to 1"),
    "callbacks.ema.decay": (_is_share_or_null, "a number from 0 to 1"),
    "callbacks.early_stopping.monitor": (
        lambda value: value in (None, "val_loss", "val_accuracy", "val_macro_auroc"),
        "val_loss, val_accuracy or val_macro_auroc",
    ),
    "callbacks.early_stopping.patience": (_whole_or_null(0), "a whole number from 0"),
    "test_time_augment": (
        lambda value: value in ("none", "dihedral", "dihedral_zoom"),
        "none, dihedral or dihedral_zoom",
    ),
    "compile": (_is_bool, "true or false"),
}
KEYS = (
    "name",
    "seed",
    "epochs",
    "batch_size",
    "checkpoint",
    "test_time_augment",
    "compile",
    "calibrate",
    "report",
    "resume",
    "sweep",
)
GROUPS = (
    "dataset",
    "model",
    "optimizer",
    "scheduler",
    "loss",
    "augment",
    "sampler",
    "trainer",
    "callbacks",
)
CORRECTING = (
    "dermaexp.training.losses.WeightedCrossEntropy",
    "dermaexp.training.losses.LogitAdjusted",
)


def warnings(config: DictConfig) -> list[str]:
    """What a user should know of a config that is valid but hardly meant so; a line each."""
    found = []
    hydra = HydraConfig.get()
    is_given = any(override.startswith("epochs=") for override in hydra.overrides.task)
    if is_given and config.trainer.get("max_epochs") != config.epochs:
        found.append(
            f"epochs={config.epochs} has no effect: trainer.max_epochs is "
            f"{config.trainer.get('max_epochs')}; give trainer.max_epochs={config.epochs}"
        )
    if not config.sampler.balance:
        return found
    loss, choice = config.loss, hydra.runtime.choices.loss
    corrects = loss.get("weights") or loss.get("power") or loss.get("tau")
    if loss.get("_target_") not in CORRECTING or not corrects:
        return found
    return [
        *found,
        f"sampler.balance={config.sampler.balance:g} and loss={choice} both correct for rare "
        "classes: together they correct twice; give sampler=uniform or loss=cross_entropy",
    ]


def check(config: DictConfig) -> None:
    """Raise UserError for a value that cannot work, and the framework's own for a missing one."""
    values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    for group in GROUPS:
        if group not in values:
            raise UserError(f"the group {group} is missing: expected {group}=OPTION, not ~{group}")
    for key in values:
        if key not in (*KEYS, *GROUPS):  # from +KEY=VALUE: a typo there would change nothing
            raise UserError(f"the key {key} is used by nothing: {nearest(key, (*KEYS, *GROUPS))}")
    _check_rules(config, RULES)
    _check_path(config.dataset)
    _check_grouping(config.dataset)
    lr = OmegaConf.select(config, "optimizer.lr")
    if lr is not None and not _is_positive(lr):
        raise UserError(f"optimizer.lr={lr}: expected a number above 0")
    trainer_keys.check(config.trainer)
    for key in values["sampler"]:
        if key != "balance":
            raise UserError(f"the key sampler.{key} is used by nothing: expected sampler.balance")
    _check_callbacks(values["callbacks"] or {}, config.checkpoint.test_with)


def _check_callbacks(callbacks: Mapping[str, Any], test_with: str) -> None:
    if test_with == "best" and not callbacks.get("best_checkpoint"):
        raise UserError(
            "checkpoint.test_with=best needs callbacks.best_checkpoint, which is switched off: "
            "give checkpoint.test_with=last"
        )
    if callbacks.get("learning_curves") and not callbacks.get("history"):
        raise UserError(
            "callbacks.learning_curves draws history.csv, which callbacks.history writes and which "
            "is switched off: give callbacks.learning_curves=null too"
        )
    stopping = callbacks.get("early_stopping") or {}
    if not _is_lightnings(stopping):
        return
    monitor, mode = str(stopping.get("monitor")), stopping.get("mode")
    if mode in ("min", "max") and (mode == "min") != monitor.endswith("loss"):
        better = "min" if monitor.endswith("loss") else "max"
        raise UserError(
            f"callbacks.early_stopping.monitor={monitor} with mode={mode} stops a run that gets "
            f"better: give callbacks.early_stopping.mode={better}"
        )


def _check_path(dataset: DictConfig) -> None:
    if "path" in dataset and dataset.path is None:
        raise UserError(
            "dataset.path is missing: give it on the command line, dataset.path=FILE or DIR"
        )


def check_dataset(config: DictConfig) -> None:
    """The same of the group dataset alone."""
    if "dataset" not in config:
        raise UserError("the group dataset is missing: expected dataset=OPTION, not ~dataset")
    OmegaConf.to_container(config.dataset, resolve=True, throw_on_missing=True)
    _check_rules(config, [key for key in RULES if key.startswith("dataset.")])
    _check_path(config.dataset)
    _check_grouping(config.dataset)


def _check_rules(config: DictConfig, keys: Iterable[str]) -> None:
    for key in keys:
        is_valid, expected = RULES[key]
        group, _, component = key.rpartition(".")[0].partition(".")
        if component and not _is_lightnings(OmegaConf.select(config, f"{group}.{component}")):
            continue  # a component of the user's own, which has its own rules
        value = OmegaConf.select(config, key)
        if not is_valid(value):
            given = f"{key} is missing" if value is None else f"{key}={value}"
            raise UserError(f"{given}: expected {expected}")


def _is_lightnings(component: Any) -> bool:
    return str((component or {}).get("_target_")).startswith("pytorch_lightning.")


def _check_grouping(dataset: DictConfig) -> None:
    column = dataset.get("group_column") or GROUP_COLUMN
    if column != GROUP_COLUMN and dataset.get("groups") is None:
        raise UserError(
            f"dataset.group_column={column}, but there is no file with such a column: give "
            "dataset.groups=FILE too"
        )
    fold, folds = dataset.get("fold") or 0, dataset.get("folds") or FOLDS
    if dataset.get("split") != "grouped":
        if fold or folds != FOLDS:
            given = f"fold={fold}" if fold else f"folds={folds}"
            raise UserError(
                f"dataset.{given}, but the official split has no folds: give dataset.split=grouped "
                "too"
            )
        return
    if dataset.get("groups") is None:
        raise UserError(
            "dataset.split=grouped needs to know which images belong together: give "
            "dataset.groups=FILE"
        )
    if fold >= folds:
        raise UserError(
            f"dataset.fold={fold}: expected a whole number from 0 to {folds - 1}, for "
            f"dataset.folds={folds}"
        )
