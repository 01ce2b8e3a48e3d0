"""Images that are copied into memory only when they are taken, such as those of a mapped file."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dermaexp.core import memory
from dermaexp.core.errors import UserError

BLOCK = 2**24  # bytes that are taken at once where all images are read in turn


class Lazy(ABC):
    """Images (N, H, W, C) uint8 that are made when they are taken, indexed like an array."""

    dtype = np.dtype(np.uint8)

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    @abstractmethod
    def __getitem__(self, index: Any, /) -> np.ndarray: ...

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


Images = np.ndarray | Lazy


class Taken(Lazy):
    """The images at `places` (N,) of others."""

    def __init__(self, images: Images, places: np.ndarray) -> None:
        super().__init__((len(places), *images.shape[1:]))
        self.images, self.places = images, places

    def __getitem__(self, index: Any, /) -> np.ndarray:
        return self.images[self.places[index]]


class Held(Lazy):
    """Some of other images, copied into memory, at the `places` (M,) that they have there."""

    def __init__(self, images: Images, places: np.ndarray) -> None:
        super().__init__(images.shape)
        self.places = np.unique(places)
        self.images = images[self.places]

    def __getitem__(self, index: Any, /) -> np.ndarray:
        return self.images[np.searchsorted(self.places, index)]


class Rows(Lazy):
    """Some rows of a file of images (N, H, W, C) uint8, read when they are taken."""

    def __init__(self, file: Path, offset: int, shape: tuple[int, ...], rows: np.ndarray) -> None:
        super().__init__((len(rows), *shape))
        self.file, self.offset = file, offset
        self.rows = rows

    def __getitem__(self, index: Any, /) -> np.ndarray:
        rows = self.rows[index]
        if rows.ndim == 0:
            return self[np.array([index])][0]
        taken = np.empty((len(rows), *self.shape[1:]), np.uint8)
        with self.file.open("rb", buffering=0) as file:
            for start, end in _runs(rows):
                file.seek(self.offset + int(rows[start]) * taken[0].nbytes)
                _fill(file, taken[start:end])
        return taken

    def mapped(self) -> Taken:
        """Return the same images of the file mapped into memory: faster where few are taken."""
        pixels = np.memmap(self.file, np.uint8, "r", self.offset)
        return Taken(pixels.reshape(-1, *self.shape[1:]), self.rows)


def taken(images: Images, places: np.ndarray) -> Images:
    """Return the images at `places` (M,): a copy, unless they are mapped."""
    return Taken(images, places) if is_mapped(images) else images[places]


def is_mapped(images: Images) -> bool:
    """Whether the images are copied into memory only when they are taken."""
    return isinstance(images, (np.memmap, Lazy))


def blocks(images: Images) -> Iterator[np.ndarray]:
    """Yield all images in turn, at most `BLOCK` bytes at once but at least one image."""
    step = max(1, BLOCK // int(np.prod(images.shape[1:])))
    for start in range(0, len(images), step):
        yield images[start : start + step]


def histogram(pixels: np.ndarray) -> list[int]:
    """Return how many pixels (N, …) uint8 have each of the 256 levels.

    By Pillow: NumPy and torch would first make 64-bit numbers of all.
    """
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(pixels.reshape(len(pixels), -1))).histogram()


def resident_limit(max_resident_gb: float | None) -> float:
    """Return the bytes of pixels that memory may hold: half of what is free where None is given."""
    return memory.available() / 2 if max_resident_gb is None else max_resident_gb * 1e9


def mapping_note(size: int, limit: float) -> str:
    """Say why `size` bytes of pixels are memory-mapped."""
    return (
        f"images are memory-mapped: {size / 1e9:.3g} GB of pixels, dataset.max_resident_gb is "
        f"{limit / 1e9:.3g}"
    )


def _runs(rows: np.ndarray) -> Iterator[tuple[int, int]]:
    """Start and end of each run of `rows` that follow one another in the file."""
    if not len(rows):
        return
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    edges = np.concatenate([[0], breaks, [len(rows)]])
    yield from zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)


def _fill(file: io.RawIOBase, images: np.ndarray) -> None:
    view = images.data.cast("B")
    while view:
        count = file.readinto(view)
        if not count:
            raise UserError(f"{getattr(file, 'name', 'the cache')} is cut short: delete it")
        view = view[count:]
