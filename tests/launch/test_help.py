"""--help lists the keys with what they take, from the rules themselves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dermaexp.core.rules import rules
from dermaexp.launch import validate

Cli = Callable[..., int]


@pytest.fixture
def shown(cli: Cli, capsys: pytest.CaptureFixture) -> Callable[..., list[str]]:
    """The lines of --help with these arguments, without their columns."""

    def run(*arguments: str) -> list[str]:
        assert cli("--help", *arguments) == 0
        return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]

    return run


def test_keys_have_their_values_and_types(shown: Callable[..., list[str]]) -> None:
    lines = shown("model=ffn", "epochs=3", "callbacks=[default,ema]")
    assert "seed=0 a whole number from 0 to 4294967295" in lines
    assert "checkpoint.test_with=best best or last" in lines
    assert "epochs=3 a whole number from 1" in lines
    assert "trainer.max_epochs=3 a whole number from 1" in lines
    assert "model.hidden=[256] a list of whole numbers from 1, such as [64,32]" in lines
    assert "dataset.size=28 28, 64, 128 or 224" in lines
    assert "dataset.grayscale=true true or false" in lines
    assert "augment.rotation=0 a number from 0 to 180" in lines
    assert "loss.label_smoothing=0.0 a number from 0 below 1" in lines
    assert "trainer.devices=1 a number, a list of indices or auto" in lines
    assert "callbacks.ema.decay=0.998 a number from 0 to 1" in lines
    assert "+trainer.max_steps a whole number from 1" in lines
    assert "callbacks.early_stopping.mode min or max" in lines


def test_every_key_with_a_rule_is_listed_once(shown: Callable[..., list[str]]) -> None:
    lines = shown("model=timm", "scheduler=multistep", "loss=weighted")
    keys = [line.partition(" ")[0].partition("=")[0].lstrip("+") for line in lines]
    for key, words in rules(validate.Config):
        assert keys.count(key) == 1, key
        assert words


@pytest.mark.slow
def test_any_value_is_shown_as_it_is(shown: Callable[..., list[str]]) -> None:
    assert "name=a$b some text" in shown("name=a$b")
    assert "dataset.path=/a$${c} the path of an npz file" in shown(
        "dataset=npz", r"dataset.path='/a$\${c}'"
    )
    assert "dataset.path=??? the path of an npz file" in shown("dataset=npz")
