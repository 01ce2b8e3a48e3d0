"""The values of the optimizer, the sampler and callbacks: taken, or refused in one line."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import BaseModel

from dermaexp.core import rules
from dermaexp.core.errors import UserError
from dermaexp.training.config import OptimizerConfig, SamplerConfig, TrainingCallbacks

STOP = {"_target_": "pytorch_lightning.callbacks.EarlyStopping"}
EMA = {"_target_": "pytorch_lightning.callbacks.EMAWeightAveraging"}


@pytest.mark.parametrize("lr", [0, -0.1, "fast", "0.1", True, math.inf, math.nan, [0.1]])
def test_learning_rates_that_make_no_sense(lr: object) -> None:
    assert refusal(OptimizerConfig, {"lr": lr}, "optimizer").endswith(": expected a number above 0")


@pytest.mark.parametrize("optimizer", [{"lr": 1}, {"lr": 1e-3}, {"lr": None}, {"step": "own"}])
def test_optimizers_that_are_taken(optimizer: dict) -> None:
    rules.check(OptimizerConfig, optimizer, "optimizer")


@pytest.mark.parametrize(
    ("sampler", "line"),
    [
        ({"balance": 2}, "sampler.balance=2: expected a number from 0 to 1"),
        ({"balance": None}, "sampler.balance=null: expected a number from 0 to 1"),
        ({}, "sampler.balance is missing: expected a number from 0 to 1"),
        (
            {"balance": 1, "balanse": 1},
            "sampler.balanse is used by nothing: did you mean 'sampler.",
        ),
    ],
)
def test_samplers_that_make_no_sense(sampler: dict, line: str) -> None:
    assert line in refusal(SamplerConfig, sampler, "sampler")


@pytest.mark.parametrize(
    ("callbacks", "line"),
    [
        ({"ema": {"decay": "abc"}}, "ema.decay=abc: expected a number from 0 to 1"),
        ({"ema": {"decay": 1.5}}, "ema.decay=1.5: expected a number from 0 to 1"),
        (
            {"early_stopping": {"monitor": "val_los"}},
            "early_stopping.monitor=val_los: expected val_loss, val_accuracy or val_macro_auroc",
        ),
        ({"early_stopping": {"patience": -1}}, "patience=-1: expected a whole number from 0"),
        ({"early_stopping": {"patience": 1.0}}, "patience=1.0: expected a whole number from 0"),
        ({"early_stopping": {"mode": "least"}}, "early_stopping.mode=least: expected min or max"),
        (
            {"early_stopping": {"monitor": "val_loss", "mode": "max"}},
            "monitor=val_loss with mode=max stops a run that gets better",
        ),
        ({"early_stopping": {"monitor": "val_accuracy", "mode": "min"}}, "give callbacks.early_st"),
        # Lightning's own mode is min.
        ({"early_stopping": {"monitor": "val_macro_auroc"}}, "early_stopping.mode=max"),
    ],
)
def test_callbacks_that_make_no_sense(callbacks: dict[str, dict], line: str) -> None:
    targets = {"ema": EMA, "early_stopping": STOP}
    given = {name: targets[name] | values for name, values in callbacks.items()}
    assert line in refusal(TrainingCallbacks, given, "callbacks")
    own = {name: {**values, "_target_": "own.Part"} for name, values in callbacks.items()}
    rules.check(TrainingCallbacks, own, "callbacks")


def refusal(model: type[BaseModel], values: dict[str, Any], key: str) -> str:
    with pytest.raises(UserError) as error:
        rules.check(model, values, key)
    assert "\n" not in str(error.value)
    return str(error.value)
