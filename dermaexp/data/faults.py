"""What is wrong with rows and pictures: counted, named, and said in one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dermaexp.core.errors import UserError
from dermaexp.data.config import OnError
from dermaexp.data.splits import Note
from dermaexp.data.table_labels import Labels

NAMED = 10  # faults that a line names


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a table: the picture's name (N,), the files of that name, and the columns.

    Without `files`, each row has its own picture: the table or a shard holds it.
    """

    names: Sequence[str]
    files: Sequence[Sequence[Path]] | None
    labels: Labels
    splits: np.ndarray | None
    groups: np.ndarray | None


def good_rows(table: Rows, where: Path | str, on_error: OnError) -> tuple[np.ndarray, list[str]]:
    """Return the rows (M,) without a fault, and a line on each other; UserError by `on_error`."""
    faults = faults_of(table)
    if faults and on_error == "stop":
        raise faults_error({kind: [*called.values()] for kind, called in faults.items()}, where)
    skipped = {row: f"{name}: {kind}" for kind, own in faults.items() for row, name in own.items()}
    good = np.array([row for row in range(len(table.names)) if row not in skipped], np.int64)
    if not len(good):
        raise UserError(f"{where} has no row without a fault: {skipped[0]}")
    return good, [skipped[row] for row in sorted(skipped)]


def faults_of(table: Rows) -> dict[str, dict[int, str]]:
    """Return kind of fault -> row -> what it is called; a row has the first that it shows."""
    names, files, labels = table.names, table.files, table.labels
    splits, groups = table.splits, table.groups
    rows = range(len(names))
    called = [name or f"row {row + 1}" for row, name in zip(rows, names, strict=True)]
    kinds = {
        "rows without an image": lambda row: not names[row],
        "missing pictures": lambda row: files is not None and not files[row],
        "names that several pictures have": lambda row: files is not None and len(files[row]) > 1,
        "rows without a label": lambda row: labels.missing[row],
        "rows without a split": lambda row: splits is not None and not splits[row],
        "rows without a lesion group": lambda row: groups is not None and not groups[row],
    }
    found: dict[str, dict[int, str]] = {}
    left = set(rows)
    for kind, is_faulty in kinds.items():
        faulty = {row: called[row] for row in rows if row in left and is_faulty(row)}
        left -= faulty.keys()
        found[kind] = faulty
    if files is not None:
        repeated = _repeated(sorted(left), files, labels.values, called)
        found["images listed twice"] = repeated
        left -= repeated.keys()
    found["labels seen once"] = _lonely(sorted(left), labels, called)
    return {kind: faulty for kind, faulty in found.items() if faulty}


def _repeated(
    rows: list[int], files: Sequence[Sequence[Path]], labels: np.ndarray, called: list[str]
) -> dict[int, str]:
    """The rows whose image an earlier row has; all of its rows where the labels differ."""
    of_file: dict[Path, list[int]] = {}
    for row in rows:
        of_file.setdefault(files[row][0], []).append(row)
    faulty = {}
    for own in of_file.values():
        agree = all(np.array_equal(labels[row], labels[own[0]]) for row in own)
        for row in own[1:] if agree else own:
            faulty[row] = called[row] if agree else f"{called[row]} (with other labels)"
    return faulty


def _lonely(rows: list[int], labels: Labels, called: list[str]) -> dict[int, str]:
    """The rows that are the only ones with their label, of labels that are one a row."""
    if labels.are_several:
        return {}
    counts = np.bincount(labels.values[rows], minlength=len(labels.classes))
    return {
        row: f"{called[row]} (“{labels.classes[labels.values[row]]}”)"
        for row in rows
        if counts[labels.values[row]] == 1
    }


def faults_error(faults: dict[str, list[str]], where: Path | str) -> UserError:
    """Return the error that counts the faults of each kind and names the first of them."""
    kinds = [f"{kind} ({len(found):,}): {shortened(found)}" for kind, found in faults.items()]
    return UserError(
        f"{where}: {'; '.join(kinds)}: mend them, or leave them out with dataset.on_error=skip"
    )


def notes_on_skipped(skipped: Sequence[str]) -> list[Note]:
    """Return a note that counts what was left out and names the first of it, if there is any."""
    if not skipped:
        return []
    return [Note(f"left out (dataset.on_error=skip), {len(skipped):,}: {shortened(skipped)}")]


def shortened(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f", and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
