"""Decoded pictures in the user's cache folder: a .npy of their pixels, and facts beside it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pooch
from filelock import FileLock

from dermaexp.core.files import read_json, write_json, written_whole
from dermaexp.data.mapped import Rows
from dermaexp.data.picture_parts import Facts, growing


def cached(
    name: str, size: tuple[int, int], fill: Callable[[BinaryIO], Facts], part: str | None = None
) -> tuple[Rows | np.ndarray, Facts]:
    """Return the pictures (N, H, W, 3) uint8 of that name in the cache, and what is known of them.

    If they are not there, `fill` writes their pixels one after the other and returns the facts. Two
    processes at once fill once. Where the cache cannot be written, the pictures stay in memory.
    Where `part` names a file, what an interrupted `fill` wrote is in its `sink` the next time.
    """
    rows, facts = _files(name)
    try:
        rows.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(rows.with_name(f".{part or name}.lock")):
            if not _is_whole(rows, facts, size):
                with growing(rows.with_name(part), rows) if part else written_whole(rows) as sink:
                    start = _write_header(sink, (0, *size, 3))
                    found = fill(sink)
                    count = (sink.tell() - start) // int(np.prod((*size, 3)))
                    sink.seek(0)
                    _write_header(sink, (count, *size, 3))
                    write_json(facts, found)
    except OSError:  # a full or read-only disk
        memory = io.BytesIO()
        found = fill(memory)
        return np.frombuffer(memory.getbuffer(), np.uint8).reshape(-1, *size, 3), found
    pixels = _mapped(rows)
    return Rows(rows, pixels.offset, pixels.shape[1:], np.arange(len(pixels))), read_json(facts)


def newest(beginning: str, size: tuple[int, int]) -> str | None:
    """Return the name, with that beginning, of the pictures that were cached last."""
    found = sorted(_folder().glob(f"{beginning}*.npy"), key=lambda file: -file.stat().st_mtime)
    whole = (file.stem for file in found if _is_whole(*_files(file.stem), size))
    return next(whole, None)


def _folder() -> Path:
    return Path(pooch.os_cache("dermaexp")) / "pictures"


def _files(name: str) -> tuple[Path, Path]:
    return _folder() / f"{name}.npy", _folder() / f"{name}.json"


def _is_whole(rows: Path, facts: Path, size: tuple[int, int]) -> bool:
    with contextlib.suppress(OSError, ValueError):  # none, or cut short by a loss of power
        read_json(facts)
        return _mapped(rows).shape[1:] == (*size, 3)
    return False


def _mapped(rows: Path) -> np.memmap:
    return np.lib.format.open_memmap(rows, "r")


def _write_header(sink: BinaryIO, shape: tuple[int, ...]) -> int:
    """Write the header of a .npy, as long for any number of pictures; return where it ends."""
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(sink, header)
    return sink.tell()
