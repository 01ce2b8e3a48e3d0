"""Pictures decoded once: rows of one file in the user's cache folder, found by their content."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
import pooch
from filelock import FileLock
from PIL import Image
from rich.progress import Progress

from dermaexp.core.console import console
from dermaexp.core.errors import UserError
from dermaexp.core.files import read_json, write_json, written_whole
from dermaexp.data import pictures
from dermaexp.data.mapped import Rows

VERSION = 2  # raise it when the same file gives other pixels
CHUNK = 256  # pictures in memory while decoding
Read = tuple[np.ndarray | str, bool]  # pixels or why there are none; whether it has 16 bits


@dataclass(frozen=True)
class Decoded:
    """Pictures that were decoded, as `Images` of a pool, and those that could not be.

    `bad` has the place of each picture that is none, and why; its row is black.
    `digest` stands for the content of all files, the size and the background.
    """

    images: Rows | np.ndarray
    bad: dict[int, str]
    with_16_bits: int
    digest: str


def decode(files: Sequence[Path], size: tuple[int, int], background: str) -> Decoded:
    """Decode the pictures to RGB (N, H, W, 3) uint8, or find them decoded in the cache.

    Two processes at once decode once. Where the cache cannot be written, the pictures stay in
    memory. Raises nothing for a file that is no picture: see `Decoded.bad`.
    """
    digest = _digest(files, size, background)
    cache = Path(pooch.os_cache("dermaexp")) / "pictures"
    rows, facts = cache / f"{digest}.npy", cache / f"{digest}.json"
    shape = (len(files), *size, 3)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f".{digest}.lock"):
            if not _is_whole(rows, facts, shape):
                with written_whole(rows) as sink:
                    np.lib.format.write_array_header_1_0(sink, _header(shape))
                    write_json(facts, _decode_into(sink, files, size, background))
    except OSError:  # a full or read-only disk
        memory = io.BytesIO()
        found = _decode_into(memory, files, size, background)
        pixels = np.frombuffer(memory.getbuffer(), np.uint8).reshape(shape)
        return Decoded(pixels, _bad(found), found["with_16_bits"], digest)
    found = json.loads(facts.read_text(encoding="utf-8"))
    offset = rows.stat().st_size - int(np.prod(shape))
    images = Rows(rows, offset, shape[1:], np.arange(len(files)))
    return Decoded(images, _bad(found), found["with_16_bits"], digest)


def kept(images: Rows | np.ndarray, good: np.ndarray) -> Rows | np.ndarray:
    """Return the images at the indices `good` alone."""
    if isinstance(images, Rows):
        return Rows(images.file, images.offset, images.shape[1:], images.rows[good])
    return images[good]


def _digest(files: Sequence[Path], size: tuple[int, int], background: str) -> str:
    """SHA-256 of what the decoded pixels follow from."""
    with ThreadPoolExecutor() as pool:
        contents = list(pool.map(_content_digest, files))
    total = hashlib.sha256(f"{VERSION} {PIL.__version__} {size} {background}\n".encode())
    for content in contents:
        total.update(content)
    return total.hexdigest()


def _content_digest(file: Path) -> bytes:
    try:
        return hashlib.sha256(file.read_bytes()).digest()
    except OSError:
        return b"unreadable".ljust(32)


def _decode_into(
    sink: io.BufferedIOBase, files: Sequence[Path], size: tuple[int, int], background: str
) -> dict:
    """Write all pictures one after the other to the `sink`; return what to know of them."""

    def read(file: Path) -> Read:
        try:
            content = file.read_bytes()
            picture = pictures.decoded(content, size, background)
        except UserError as error:
            return str(error), False
        except OSError as error:
            return f"cannot be read: {error.strerror}", False
        with Image.open(io.BytesIO(content), formats=pictures.FORMATS) as image:
            return picture, pictures.has_16_bits(image)

    bad: dict[str, str] = {}
    with_16_bits = 0
    black = np.zeros((*size, 3), np.uint8)
    for place, (picture, wide) in enumerate(_in_chunks(read, files)):
        if isinstance(picture, str):
            bad[str(place)] = picture
            picture = black
        with_16_bits += wide
        sink.write(np.ascontiguousarray(picture).data)
    return {"bad": bad, "with_16_bits": with_16_bits}


def _in_chunks(read: Callable[[Path], Read], files: Sequence[Path]) -> Iterator[Read]:
    """The answers of `read` in the order of the files, with a progress bar, a chunk at a time."""
    with ThreadPoolExecutor() as pool, Progress(console=console, transient=True) as progress:
        bar = progress.add_task(f"decoding {len(files):,} pictures", total=len(files))
        for start in range(0, len(files), CHUNK):
            chunk = files[start : start + CHUNK]
            yield from pool.map(read, chunk)  # decoding frees Python's lock
            progress.advance(bar, len(chunk))


def _header(shape: tuple[int, ...]) -> dict:
    return {"descr": "|u1", "fortran_order": False, "shape": shape}


def _is_whole(rows: Path, facts: Path, shape: tuple[int, ...]) -> bool:
    try:
        read_json(facts)
    except (OSError, ValueError):  # none, or cut short by a loss of power
        return False
    if not rows.is_file():
        return False
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, _header(shape))
    return rows.stat().st_size == len(header.getvalue()) + int(np.prod(shape))


def _bad(found: dict) -> dict[int, str]:
    return {int(place): reason for place, reason in found["bad"].items()}
