"""Rules for the keys of a training's components; those of the trainer are in trainer_keys.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from annotated_types import Predicate
from pydantic import Field, model_validator

from dermaexp.core.errors import UserError
from dermaexp.core.rules import (
    UNLESS_OWN,
    Component,
    Finite,
    Flag,
    Index,
    NotNegative,
    Positive,
    Rules,
    Share,
)

Angle = Annotated[Finite, Field(ge=0, le=180, description="a number from 0 to 180")]
Smoothing = Annotated[NotNegative, Field(lt=1, description="a number from 0 below 1")]
# Beyond 10, a rare class weighs all there is.
Power = Annotated[NotNegative, Field(lt=10, description="a number from 0 below 10")]
Weights = Annotated[
    Sequence[NotNegative],
    Predicate(any),
    Field(description="numbers from 0, not all 0, in the order of the classes"),
]
Epochs = Annotated[Index, Field(description="a whole number of epochs from 0, or null for all")]
Decay = Annotated[Positive, Field(le=1, description="a number above 0, at most 1")]
Milestones = Annotated[
    Sequence[Share], Field(description="fractions of the training, such as [0.5,0.75]")
]


class OptimizerConfig(Rules):
    lr: Positive | None = None
    weight_decay: NotNegative | None = None
    fused: Flag | None = None


class SamplerConfig(Component):
    balance: Share


class FinetuneConfig(Component):
    frozen_epochs: Epochs | None = 0
    body_lr: Positive = 1.0
    decay: Decay = 1.0


class CosineConfig(Component):
    min_factor: NotNegative


class MultistepConfig(Component):
    milestones: Milestones
    gamma: Positive


class OneCycleConfig(Component):
    warmup: Share


class CrossEntropyConfig(Component):
    label_smoothing: Smoothing = 0.0


class WeightedConfig(CrossEntropyConfig):
    power: Power = 1.0
    weights: Weights | None = None


class FocalConfig(CrossEntropyConfig):
    gamma: NotNegative = 2.0


class LogitAdjustedConfig(CrossEntropyConfig):
    tau: NotNegative = 1.0


class AugmentConfig(Component):
    """The options of `augment.Augment`, whose docstring says what each does."""

    dihedral: Flag = False
    rotation: Angle = 0.0
    scale: Share = 0.0
    shift: Share = 0.0
    brightness: Share = 0.0
    contrast: Share = 0.0
    saturation: Share = 0.0
    erase: Share = 0.0
    mixup: Share = 0.0
    cutmix: Share = 0.0
    alpha: Positive = 1.0

    @model_validator(mode="after")
    def _mixes_a_batch_once(self) -> Self:
        if (both := self.mixup + self.cutmix) > 1:
            raise UserError(f"augment.mixup + augment.cutmix={both}: expected a number from 0 to 1")
        return self


class EMAConfig(Rules):
    decay: Share | None = None


class EarlyStoppingConfig(Rules):
    monitor: Literal["val_loss", "val_accuracy", "val_macro_auroc"] | None = None
    mode: Literal["min", "max"] = "min"  # Lightning's default
    patience: Index | None = None

    @model_validator(mode="after")
    def _stops_when_it_gets_no_better(self) -> Self:
        better = "min" if self.monitor == "val_loss" else "max"
        if self.monitor and self.mode != better:
            raise UserError(
                f"callbacks.early_stopping.monitor={self.monitor} with mode={self.mode} stops a "
                f"run that gets better: give callbacks.early_stopping.mode={better}"
            )
        return self


class TrainingCallbacks(Rules):
    ema: Annotated[EMAConfig | None, UNLESS_OWN] = None
    early_stopping: Annotated[EarlyStoppingConfig | None, UNLESS_OWN] = None


COMPONENTS: dict[str, type[Component]] = {  # by _target_
    "dermaexp.training.augment.Augment": AugmentConfig,
    "dermaexp.training.finetune.Finetune": FinetuneConfig,
    "dermaexp.training.losses.CrossEntropy": CrossEntropyConfig,
    "dermaexp.training.losses.WeightedCrossEntropy": WeightedConfig,
    "dermaexp.training.losses.FocalLoss": FocalConfig,
    "dermaexp.training.losses.LogitAdjusted": LogitAdjustedConfig,
    "dermaexp.training.schedules.cosine": CosineConfig,
    "dermaexp.training.schedules.multistep": MultistepConfig,
    "dermaexp.training.schedules.onecycle": OneCycleConfig,
}
