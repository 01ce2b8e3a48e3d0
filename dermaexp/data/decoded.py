"""Pictures decoded once: by several threads, into the cache of pictures."""

from __future__ import annotations

import hashlib
import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import PIL
from PIL import Image

from dermaexp.core.console import progress_bar
from dermaexp.core.errors import UserError
from dermaexp.data import pictures
from dermaexp.data.mapped import Rows
from dermaexp.data.picture_cache import cached
from dermaexp.data.picture_parts import Facts

VERSION = 2  # raise it when the same file gives other pixels
AHEAD = 256  # pictures in memory while decoding
Read = tuple[np.ndarray | str, bool]  # pixels or why there are none; whether it has 16 bits
Item = TypeVar("Item")
Result = TypeVar("Result")


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

    Raises nothing for a file that is no picture: see `Decoded.bad`.
    """

    def read(file: Path) -> Read:
        try:
            return decoded_content(file.read_bytes(), size, background)
        except OSError as error:
            return f"cannot be read: {error.strerror}", False

    def fill(sink: BinaryIO) -> Facts:
        with progress_bar() as progress:
            what = f"decoding {len(files):,} pictures"
            reads = progress.track(in_order(read, files, AHEAD), len(files), description=what)
            return write_pixels(sink, reads, size)

    digest = _digest(files, size, background)
    images, found = cached(digest, size, fill)
    return Decoded(images, bad_of(found), found["with_16_bits"], digest)


def kept(images: Rows | np.ndarray, good: np.ndarray) -> Rows | np.ndarray:
    """Return the images at the indices `good` alone."""
    if isinstance(images, Rows):
        return Rows(images.file, images.offset, images.shape[1:], images.rows[good])
    return images[good]


def decoded_content(content: bytes, size: tuple[int, int], background: str) -> Read:
    """Decode the picture in these bytes."""
    try:
        picture = pictures.decoded(content, size, background)
    except UserError as error:
        return str(error), False
    with Image.open(io.BytesIO(content), formats=pictures.FORMATS) as image:
        return picture, pictures.has_16_bits(image)


def write_pixels(sink: BinaryIO, reads: Iterable[Read], size: tuple[int, int]) -> Facts:
    """Write all pictures one after the other to the `sink`; return what to know of them."""
    bad: dict[str, str] = {}
    with_16_bits = 0
    black = np.zeros((*size, 3), np.uint8)
    for place, (picture, wide) in enumerate(reads):
        if isinstance(picture, str):
            bad[str(place)] = picture
            picture = black
        with_16_bits += wide
        sink.write(np.ascontiguousarray(picture).data)
    return {"bad": bad, "with_16_bits": with_16_bits}


def bad_of(found: Facts) -> dict[int, str]:
    """Return place -> why of the pictures that are none."""
    return {int(place): reason for place, reason in found["bad"].items()}


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """Yield the function's results in the order of the items, computed by threads.

    At most `ahead` items are taken before the first of their results is.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor() as pool:  # decoding frees Python's lock
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def how_decoded(size: tuple[int, int], background: str) -> bytes:
    """Return what decoded pixels follow from beside the content of the pictures."""
    return f"{VERSION} {PIL.__version__} {size} {background}\n".encode()


def _digest(files: Sequence[Path], size: tuple[int, int], background: str) -> str:
    """SHA-256 of what the decoded pixels follow from."""
    with ThreadPoolExecutor() as pool:
        contents = list(pool.map(_content_digest, files))
    total = hashlib.sha256(how_decoded(size, background))
    for content in contents:
        total.update(content)
    return total.hexdigest()


def _content_digest(file: Path) -> bytes:
    try:
        return hashlib.sha256(file.read_bytes()).digest()
    except OSError:
        return b"unreadable".ljust(32)
