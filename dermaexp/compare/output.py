"""Writes a comparison's files: for `python -m dermaexp.compare DIR …` and at a sweep's end."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dermaexp.compare import tables
from dermaexp.compare.comparison import Comparison, comparison_of
from dermaexp.core import lean_imports
from dermaexp.core.owned import Kind, are_current, write_files
from dermaexp.runs.provenance import PACKAGE, code_digest

FIGURES = (  # of all possible figures
    "test_accuracy",
    "learning_curves",
    "per_class_accuracy",
    "confusion_matrices",
    "effects",
    "search_history",
    "search_importances",
)
NAMES = re.compile(
    rf"leaderboard\.(csv|md)|runs\.csv|comparison\.html|figures/({'|'.join(FIGURES)})(_\d+)?\.png"
)
KIND = Kind("comparison.json", NAMES)


def compare(sweep: Path) -> int:
    """Compares the runs of a sweep that ended; returns the number of those that did not finish.

    Prints the tables and writes leaderboard.csv, runs.csv, leaderboard.md, comparison.html and its
    figures/ into `sweep`. Runs on different test data are in separate tables.
    Raises UserError if there are no runs, or if it would overwrite a file of others.
    """
    comparison = comparison_of([sweep])
    tables.show(comparison)  # first, as it cannot fail
    write(comparison, sweep)
    return comparison.unfinished


def write(comparison: Comparison, folder: Path) -> None:
    """Writes all files of `comparison` into `folder`, unless they are those that are there already.

    UserError if a file there belongs to others.
    """
    files = tables.files(comparison, folder)
    made_of = {"made_of": _digest(comparison, folder, files)}
    if are_current(folder, KIND, made_of):
        return
    content: dict[str, Any] = {}
    if comparison.search:
        content["importances"] = comparison.search["importances"]
    try:
        lean_imports.import_sklearn()
        from dermaexp.compare import page  # with Matplotlib

        files |= page.files(comparison, folder)
        content |= made_of
    finally:  # the tables do not depend on a figure
        write_files(folder, KIND, files, content)


def _digest(comparison: Comparison, folder: Path, files: Mapping[str, bytes]) -> str:
    """SHA-256 of what the page and its figures depend on: tables, the runs' files, our code."""
    templates = sorted((PACKAGE / "report" / "templates").iterdir())
    runs = [*comparison.runs, *comparison.left_out]
    parts = [
        [str(path) for path in (folder.absolute(), *comparison.folders)],
        [[str(run.directory.path), run.damage, *run.directory.stamps()] for run in runs],
        comparison.search,
        code_digest(PACKAGE),
        [template.read_text(encoding="utf-8") for template in templates],
    ]
    digest = hashlib.sha256(json.dumps(parts).encode())
    for content in files.values():
        digest.update(content)
    return digest.hexdigest()
