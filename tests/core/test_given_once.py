"""A flag of a verb that is given twice: with two values it is refused, before anything is read."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from helpers import compare_command

Cli = Callable[..., int]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["export", "r", "--format=onnx", "--format=safetensors"], "--format is given twice, onnx"),
        (["predict", "r", "p", "--top", "4", "--top=3"], "--top is given twice, 4 and 3: give it"),
        (["predict", "r", "p", "--min-confidence=0", "--min-confidence=1"], "--min-confidence is"),
        (["explain", "r", "--class", "a", "--class", "b"], "--class is given twice, a and b: give"),
        (["evaluate", "r", "--split=val", "dataset=npz", "--split=test"], "--split is given twice"),
        (["card", "r", "--output=a", "--output=b"], "--output is given twice, a and b: give it on"),
        (["demo", "r", "--port=1", "--port=2"], "--port is given twice, 1 and 2: give it once"),
        (["ls", "--sort=age", "--sort=size"], "--sort is given twice, age and size: give it once"),
        (["compare", "a", "--output=a", "b", "--output=b"], "--output is given twice, a and b:"),
        (["audit", "--config-dir=a", "dataset=npz", "--config-dir=b"], "--config-dir is given twi"),
        (["audit", "dataset.url=0.tar", "dataset.url=1.tar"], "in quotes if the shell expanded"),
    ],
)
def test_two_values(words: list[str], line: str, cli: Cli, capsys: pytest.CaptureFixture) -> None:
    assert cli(*words) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("error: ")
    assert line in errors
    assert errors.count("\n") == 1, errors


@pytest.mark.parametrize(
    "words", [["--sort=age", "--sort=age"], ["--sort", "size", "--sort=size"], ["--sort=score"]]
)
def test_one_value(words: list[str], cli: Cli, capsys: pytest.CaptureFixture) -> None:
    cli("ls", *words)
    assert "twice" not in capsys.readouterr().err


def test_the_module_of_a_verb(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert compare_command(monkeypatch, "a", "--output=a", "--output=b") == 1
    assert capsys.readouterr().err == "error: --output is given twice, a and b: give it once\n"
