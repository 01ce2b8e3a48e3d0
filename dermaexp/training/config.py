"""Rules for the keys of a training's components; those of the trainer are in trainer_keys.py."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from dermaexp.core.errors import UserError
from dermaexp.core.rules import UNLESS_OWN, Index, Positive, Share


class OptimizerConfig(BaseModel):
    lr: Positive | None = None


class SamplerConfig(BaseModel):
    model_config = ConfigDict(extra="forbid")

    balance: Share


class EMAConfig(BaseModel):
    decay: Share | None = None


class EarlyStoppingConfig(BaseModel):
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


class TrainingCallbacks(BaseModel):
    ema: Annotated[EMAConfig | None, UNLESS_OWN] = None
    early_stopping: Annotated[EarlyStoppingConfig | None, UNLESS_OWN] = None
