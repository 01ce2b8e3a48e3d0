"""Files that one command writes into a folder together, replacing its own and no others."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dermaexp.core.errors import UserError
from dermaexp.core.files import write_bytes

SCHEMA = 1
MARK, WRITER = "written_by", "dermaexp"


class Kind(NamedTuple):
    """`record` is the JSON file that lists the files, `names` matches every name they may have."""

    record: str
    names: re.Pattern[str]


def write_files(
    folder: Path, kind: Kind, files: Mapping[str, bytes], content: Mapping[str, Any] | None = None
) -> None:
    """Write the `files` (name -> content) and their list, with more `content` if given.

    Removes files of an earlier call that are not among them. Raises UserError, before anything is
    written, if a file of one of the names exists that dermaexp did not write.
    """
    owned = _owned(folder, kind)
    for name in (kind.record, *files):
        path, above = folder / name, (folder / name).parent
        is_other = os.path.lexists(path) and name not in owned
        if is_other or (os.path.lexists(above) and not above.is_dir()):
            raise UserError(
                f"{path if is_other else above} was not written by dermaexp, and would be "
                "overwritten: nothing was written; move it away or give another folder, --output "
                "DIR"
            )
    record = {"schema": SCHEMA, **(content or {})}
    # The list is complete at any moment: it first holds the old names and the new ones.
    _write_record(folder / kind.record, record, {*owned, *files} - {kind.record})
    for name, data in files.items():
        write_bytes(folder / name, data)
    for name in owned - set(files) - {kind.record}:
        (folder / name).unlink(missing_ok=True)
    _write_record(folder / kind.record, record, set(files))


def are_current(folder: Path, kind: Kind, content: Mapping[str, Any]) -> bool:
    """Whether the files in the folder are those that `write_files` wrote with this `content`.

    They all are there, and nobody has changed one since.
    """
    try:
        written = (folder / kind.record).stat().st_mtime_ns
        record = json.loads((folder / kind.record).read_text(encoding="utf-8"))
        owned = _owned(folder, kind)
        changed = [(folder / name).stat().st_mtime_ns > written for name in owned]
    except (OSError, ValueError):
        return False
    return bool(owned) and content.items() <= record.items() and not any(changed)


def _owned(folder: Path, kind: Kind) -> set[str]:
    """The names of our files in the folder, including the list's."""
    try:
        record = json.loads((folder / kind.record).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    listed = record.get("files") if isinstance(record, dict) else None
    if not isinstance(listed, list) or record.get(MARK) != WRITER:  # another program's list
        return set()
    # A manipulated list must not lead to other files.
    names = {name for name in listed if isinstance(name, str) and kind.names.fullmatch(name)}
    return {kind.record, *names}


def _write_record(path: Path, record: Mapping[str, Any], names: set[str]) -> None:
    text = json.dumps(
        {**record, MARK: WRITER, "files": sorted(names)}, indent=2, ensure_ascii=False
    )
    write_bytes(path, f"{text}\n".encode())
