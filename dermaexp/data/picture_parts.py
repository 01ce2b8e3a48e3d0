"""Pictures that come in parts, such as shards: finished parts outlive an interrupted attempt."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO

Facts = dict[str, Any]


@contextlib.contextmanager
def growing(part: Path, whole: Path) -> Iterator[BinaryIO]:
    """Yield the file `part` as an interrupted attempt left it, or a new one.

    It takes the place of `whole` at the end of the block. An error leaves it for the next attempt,
    but for an OSError: a full disk is not left full. One writer at a time, which holds a lock.
    """
    try:
        with part.open("r+b" if part.exists() else "w+b") as sink:
            yield sink
        part.replace(whole)
        _beside(part).unlink(missing_ok=True)
    except OSError:
        part.unlink(missing_ok=True)
        _beside(part).unlink(missing_ok=True)
        raise


def finished(
    sink: BinaryIO,
    picture: int,
    versions: Sequence[object],
    fill: Callable[[int], Iterator[Facts]],
) -> list[Facts]:
    """Return the facts of all parts: of those that are in the `sink`, then of those to `fill`.

    `fill(n)` writes the pixels of the parts from the n-th on to the `sink` and yields the facts of
    each, with the "names" of its pictures, of `picture` bytes. A part is there if all before it are
    and it has the same version. The facts stand in a journal beside the file, a line a part.
    """
    start = sink.tell()
    room = (sink.seek(0, os.SEEK_END) - start) // picture
    with _journal(sink) as journal:
        found = _there(journal, versions, room)
        sink.seek(start + picture * sum(len(facts["names"]) for facts in found))
        sink.truncate()
        journal.seek(0)
        journal.truncate()
        for facts in found:
            print(json.dumps(facts), file=journal)
        for facts, version in zip(fill(len(found)), versions[len(found) :], strict=True):
            found.append({**facts, "version": version})
            if not isinstance(sink, io.BytesIO):
                sink.flush()
                os.fsync(sink.fileno())  # the journal names what a loss of power leaves
            print(json.dumps(found[-1]), file=journal)
    return found


def _there(journal: TextIO, versions: Sequence[object], room: int) -> list[Facts]:
    """The facts of the first parts that have these versions, and whose pictures find room."""
    found = []
    journal.seek(0)
    with contextlib.suppress(ValueError):  # of a line that was cut short
        for line, version in zip(journal, versions, strict=False):
            facts = json.loads(line)
            room -= len(facts["names"])
            if facts["version"] != version or room < 0:
                break
            found.append(facts)
    return found


def _journal(sink: BinaryIO) -> TextIO:
    if isinstance(sink, io.BytesIO):
        return io.StringIO()
    return _beside(Path(sink.name)).open("a+", buffering=1, encoding="utf-8")  # line by line


def _beside(part: Path) -> Path:
    return part.with_name(f"{part.name}.jsonl")
