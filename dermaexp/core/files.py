"""Files written whole or not at all, such as JSON; read with their name in every error."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def expanded(path: str) -> Path:
    """The path with a leading ~ as the home folder; as it is where ~ names no user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def write_bytes(path: Path, content: bytes | memoryview, *, durably: bool = True) -> None:
    """Write the whole file or nothing: beside it first, then renamed over it.

    What can be computed again need not be written `durably`, which waits for the disk: it may be
    cut short by a loss of power, but not by an end of the program.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(content)
            if durably:
                file.flush()
                os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[io.BufferedWriter]:
    """Yield a file to write to, which takes the place of `path` at the end of the block.

    For large files that can be made again: one writer at a time, which holds a lock, and which
    overwrites what a killed one left beside it.
    """
    beside = path.with_name(f".{path.name}.tmp")
    try:
        with beside.open("wb") as sink:
            yield sink
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` whole or not at all, with null for NaN and infinity."""
    text = json.dumps(finite(content), indent=2, allow_nan=False, ensure_ascii=False)
    write_bytes(path, f"{text}\n".encode())


def read_json(path: Path) -> dict[str, Any]:
    """The object in the file; ValueError for anything else."""
    with naming(path):
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError(f"a {type(content).__name__}, expected an object")
        try:
            if "\\u" in text:  # an escape, which alone can be half of a character
                json.dumps(content, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("a text in it is no Unicode") from None
        return content


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Raise any error of the content of a file as a ValueError that names the file."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # NumPy's and zipfile's on damaged bytes have nothing in common
        raise ValueError(f"{path.name}: {error}") from error


def finite(value: Any) -> Any:
    """The value with NaN and infinity as None: JSON has no number for them."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
