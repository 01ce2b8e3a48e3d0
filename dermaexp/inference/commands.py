"""Commands from Python: the same words, an object in the place of files and lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dermaexp.core.errors import UserError
from dermaexp.inference.compared_runs import ComparedRuns
from dermaexp.inference.run import Run
from dermaexp.launch import replicas, resume
from dermaexp.launch.command import execute, isolated
from dermaexp.launch.explain import RunError, explain
from dermaexp.launch.sweep import started

SWEEP = ("-m", "--multirun")


def run(overrides: Sequence[str]) -> Run:
    """Run one experiment; UserError with the line that the command would print."""
    if set(SWEEP) & set(overrides):
        raise UserError("run() runs one experiment: expected no -m; give dermaexp.sweep(...)")
    if several := [word for word in overrides if word.startswith(replicas.KEY)]:
        raise UserError(f"{several[0]} is several runs: give dermaexp.sweep(...)")
    return Run(_folder(overrides))


def sweep(overrides: Sequence[str]) -> ComparedRuns:
    """Run a sweep; UserError with the line that the command would print, or if no job finished."""
    words = [word for word in overrides if word not in SWEEP]
    resumes = any(word.startswith(resume.KEY) for word in words)
    compared = ComparedRuns([_folder(words if resumes else ["-m", *words])])
    if not compared.runs:
        job, why = next(iter(compared.errors.items()))
        raise UserError(f"no job of the sweep in {compared.path} finished: {job}: {why}")
    return compared


def _folder(arguments: Sequence[str]) -> Path:
    """Run the command and return its folder, also that of a sweep with failed jobs."""
    try:
        with isolated():
            try:
                folder = execute(arguments)
            except SystemExit:  # jobs failed, as the sweep has printed
                folder = started[-1] if started else None
    except (Exception, RunError) as error:
        raise UserError(explain(error)) from error
    if folder is None:
        raise UserError(f"{' '.join(arguments)} runs nothing: expected KEY=VALUE")
    return folder
