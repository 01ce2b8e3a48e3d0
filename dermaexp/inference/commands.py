"""Commands from Python: the same words, an object in the place of files and lines."""

from __future__ import annotations

from collections.abc import Sequence

from dermaexp.core.errors import UserError
from dermaexp.inference.run import Run
from dermaexp.launch.command import execute, isolated
from dermaexp.launch.explain import RunError, explain


def run(overrides: Sequence[str]) -> Run:
    """Run one experiment; UserError with the line that the command would print."""
    if {"-m", "--multirun"} & set(overrides):
        raise UserError("run() runs one experiment: expected no -m; give dermaexp.sweep(...)")
    try:
        with isolated():
            folder = execute(overrides)
    except (Exception, RunError) as error:
        raise UserError(explain(error)) from error
    if folder is None:
        raise UserError(f"{' '.join(overrides)} runs nothing: expected KEY=VALUE")
    return Run(folder)
