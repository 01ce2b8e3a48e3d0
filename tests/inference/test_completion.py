"""Completion, asked for through the shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dermaexp.inference.completion import SCRIPTS, candidates

ROOT = Path(__file__).resolve().parents[2]
LINES = {"dermaexp model=res": "model=resnet18", "python -m dermaexp pred": "predict"}
ASK = {
    "bash": """
        COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=(${1%% *})
        _dermaexp; printf '%s\\n' "${COMPREPLY[@]}"
    """,
    "zsh": """
        compadd() { shift 3; print -rl -- "$@" }
        LBUFFER=$1 words=(${(z)1}); _dermaexp
    """,
    "fish": "complete -C $argv[1] | string replace -r '\\t.*' ''",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for PATH with the console script and a `python`."""
    for name, code in (("dermaexp", " -m dermaexp"), ("python", "")):
        file = tmp_path / name
        file.write_text(f'#!/bin/sh\nexec "{sys.executable}"{code} "$@"\n')
        file.chmod(0o755)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_shell_completes(folder: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    environment = os.environ | {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
    }
    # As in an interactive shell: the script is evaluated, then its function is called.
    begin = "dermaexp completion fish | source" if shell == "fish" else 'eval "$(cat script)"'
    (folder / "script").write_text(SCRIPTS[shell])
    plain = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    for line, expected in LINES.items():
        words = [shell, *plain, "-c", f"{begin}\n{ASK[shell]}", *([shell] * (shell != "fish"))]
        answer = subprocess.run(
            [*words, line], env=environment, cwd=folder, capture_output=True, text=True
        )
        found = answer.stdout.split()
        # Bash gives what follows "=", at which readline breaks words.
        assert (expected.partition("=")[2] or expected if shell == "bash" else expected) in found, (
            answer.stderr
        )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", ["audit", "model=", "epochs="]),
        ("-m model=ffn,c", ["model=ffn,cnn"]),
        ("optimizer=sgd optimizer.mom", ["optimizer.momentum="]),
        ("--multi", ["--multirun"]),
        (f"--config-dir {ROOT / 'examples/own_project/conf'} dataset=sh", ["dataset=shapes"]),
        ("+model=ff", ["+model=ffn"]),
        ("predict outputs/", []),
    ],
)
def test_candidates(
    cli: Callable[..., int], capsys: pytest.CaptureFixture[str], line: str, expected: list[str]
) -> None:
    assert cli("completion", "bash", f"--line={line}") == 0
    found = capsys.readouterr().out.split()
    assert set(expected) <= set(found)
    assert bool(found) == bool(expected)


def test_what_is_no_line() -> None:
    assert candidates("model=nothing") == []
