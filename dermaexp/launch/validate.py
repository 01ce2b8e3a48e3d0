"""The config's own keys, checked before anything is loaded: pydantic here, but no torch."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from pydantic import BaseModel, ConfigDict, Field, create_model

from dermaexp.core import rules
from dermaexp.core.containers import to_dict
from dermaexp.core.errors import UserError
from dermaexp.core.rules import Component, Count, Flag, Text
from dermaexp.data import config as data
from dermaexp.data.config import DatasetConfig
from dermaexp.models import config as models
from dermaexp.report.config import FigureCallbacks
from dermaexp.training import config as training
from dermaexp.training.config import OptimizerConfig, SamplerConfig, TrainingCallbacks
from dermaexp.training.trainer_keys import TrainerConfig

COMPONENTS: dict[str, type[BaseModel]] = {
    **data.COMPONENTS,
    **models.COMPONENTS,
    **training.COMPONENTS,
}
LARGEST_SEED = 2**32 - 1  # NumPy's

Seed = Annotated[
    int,
    Field(
        strict=True,
        ge=0,
        le=LARGEST_SEED,
        description=f"a whole number from 0 to {LARGEST_SEED}",
    ),
]
Directory = Annotated[Text, Field(description="a run or sweep directory, alone on the line")]


Replicas = Annotated[None, Field(description="a number of seeds, in the command")]


class CheckpointConfig(Component):
    test_with: Literal["best", "last"]


class SweepConfig(Component):
    stop_on_failure: Flag
    replicas: Count = 1


class TopLevel(rules.Rules):
    """The keys that are no config group."""

    name: Text
    seed: Seed
    epochs: Count
    batch_size: Count
    checkpoint: CheckpointConfig
    test_time_augment: Literal["none", "dihedral", "dihedral_zoom"]
    compile: Flag
    calibrate: Flag
    report: Flag
    resume: Directory | None = None
    replicas: Replicas = None
    sweep: SweepConfig


class CallbacksConfig(TrainingCallbacks, FigureCallbacks):
    """The callbacks that have rules, each under the name that its YAML gives it."""


class Config(TopLevel):
    """All of the config; Any stands where the group's component decides, see `rules_for`."""

    model_config = ConfigDict(extra="forbid")  # a typo in +KEY=VALUE would change nothing

    dataset: DatasetConfig
    model: Any
    optimizer: OptimizerConfig
    scheduler: Any
    finetune: Any
    loss: Any
    augment: Any
    sampler: SamplerConfig
    trainer: TrainerConfig
    callbacks: CallbacksConfig
    logger: Any


KEYS = tuple(TopLevel.model_fields)
GROUPS = tuple(name for name in Config.model_fields if name not in KEYS)
SEVERAL = ("callbacks", "logger")  # whose options can be combined
OPTIONAL = ("scheduler", "finetune")  # whose option none is empty
BUILT = tuple(name for name in GROUPS if name not in ("sampler", *OPTIONAL, *SEVERAL))

CORRECTING = (
    "dermaexp.training.losses.WeightedCrossEntropy",
    "dermaexp.training.losses.LogitAdjusted",
)


def rules_for(config: Mapping[str, Any] | DictConfig) -> type[BaseModel]:
    """Return Config with the rules of the components that `config` names by their _target_."""
    groups = {group: config.get(group) for group in GROUPS}
    return _composed(
        tuple((name, str(group.get("_target_"))) for name, group in groups.items() if group)
    )


@functools.cache  # a sweep's jobs share it
def _composed(targets: tuple[tuple[str, str], ...]) -> type[BaseModel]:
    fields: dict[str, Any] = {
        group: (COMPONENTS[target], ...) for group, target in targets if target in COMPONENTS
    }
    return cast(type[BaseModel], create_model("Composed", __base__=Config, **fields))


def warnings(config: DictConfig) -> list[str]:
    """Return a line for each part of a valid config that is probably a mistake."""
    found = []
    hydra = HydraConfig.get()
    is_given = any(override.startswith("epochs=") for override in hydra.overrides.task)
    if is_given and config.trainer.get("max_epochs") != config.epochs:
        found.append(
            f"epochs={config.epochs} has no effect: trainer.max_epochs is "
            f"{config.trainer.get('max_epochs')}; give trainer.max_epochs={config.epochs}"
        )
    model, finetune = config.model, hydra.runtime.choices.get("finetune")
    starts = model.get("weights") is not None or model.get("init_from") is not None
    if config.finetune and not starts and model._target_.startswith("dermaexp."):
        found.append(
            f"finetune={finetune} spares weights that were trained before, but the model starts "
            "from random ones: give model.weights or model.init_from"
        )
    if not config.sampler.balance:
        return found
    loss, choice = config.loss, hydra.runtime.choices["loss"]
    corrects = loss.get("weights") or loss.get("power") or loss.get("tau")
    if loss.get("_target_") not in CORRECTING or not corrects:
        return found
    return [
        *found,
        f"sampler.balance={config.sampler.balance:g} and loss={choice} both correct for rare "
        "classes: together they correct twice; give sampler=uniform or loss=cross_entropy",
    ]


def check(config: DictConfig) -> None:
    """Raise UserError for a value that cannot work, and OmegaConf's error for a missing one."""
    values = to_dict(config, resolve=True, throw_on_missing=True)
    for group in GROUPS:
        _check_given(group, values)
    rules.check(rules_for(values), values)
    for group in SEVERAL:
        _check_parts(group, values[group])
    _check_callbacks(values["callbacks"], values["checkpoint"]["test_with"])


def check_dataset(config: DictConfig) -> None:
    """Do the same for the config group dataset alone."""
    _check_given("dataset", config)
    values = to_dict(config.dataset, resolve=True, throw_on_missing=True)
    rules.check(COMPONENTS.get(values["_target_"], DatasetConfig), values, "dataset")


def _check_given(group: str, config: Mapping[str, Any] | DictConfig) -> None:
    if group not in config:
        raise UserError(
            f"the config group {group} is missing: expected {group}=OPTION, not ~{group}"
        )
    component = config[group]
    is_built = group in BUILT or (group in OPTIONAL and component)
    is_component = is_built and isinstance(component, Mapping | DictConfig)
    if is_component and not component.get("_target_"):
        raise UserError(
            f"{group}._target_ is missing: expected the path of a class or function; give "
            f"{group}=OPTION"
        )


def _check_parts(group: str, parts: Mapping[str, Any]) -> None:
    for name, part in parts.items():
        if part and not (isinstance(part, Mapping) and part.get("_target_")):
            raise UserError(
                f"{group}.{name}={rules.typed(part)}: expected null, which switches it off, or "
                f"keys such as {group}.{name}._target_"
            )


def _check_callbacks(callbacks: Mapping[str, Any], test_with: str) -> None:
    if test_with == "best" and not callbacks.get("best_checkpoint"):
        raise UserError(
            "checkpoint.test_with=best needs callbacks.best_checkpoint, which is switched off: "
            "give checkpoint.test_with=last"
        )
    if callbacks.get("learning_curves") and not callbacks.get("history"):
        raise UserError(
            "callbacks.learning_curves plots history.csv, but callbacks.history, which writes it, "
            "is switched off: give callbacks.learning_curves=null too"
        )
