"""Near-duplicates: pairs of images that may show the same thing, found by their pixels alone.

Two pictures of one lesion differ in zoom, position and light. Each image is compared with windows
of the other at several zooms and shifts, and with its rotations and reflections; standardising
each window removes light. The features of a window are its whitened principal components. Pairs
are ranked by how much more similar they are than each image is to its nearest others (CSLS:
Conneau et al., Word translation without parallel data, ICLR 2018), as some images resemble many.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from dermaexp.data.mapped import Images

SIDE = 28  # pixels; images are resized to it
GRID = 14  # samples of a window along each side
COMPONENTS = 64
RIDGE = 0.003  # of the largest variance, added to all before whitening
FITTED = 20_000  # images at most for the components
ZOOMS = (1.0, 1.2, 1.44, 1.73, 2.07, 2.49)
SHIFT = 1 / 14  # of the window's side
NEIGHBOURS = 10
REFERENCE = 7007  # images of train when margins were validated; of fewer, the nearest are further
COPY = 0.95  # similarity from which a pair counts whatever its margin
LOWEST = 0.0  # margin of pairs that are kept
BLOCK = 256  # images
SMALLEST = 1e-3  # length of a vector that is more than rounding
ROUNDING = 1e-6  # contrasts below are rounding errors, not light


class Window(NamedTuple):
    """A square part of an image, 1/zoom of its side, shifted by pixels of SIDE, then turned."""

    zoom: float = 1.0
    down: float = 0.0
    right: float = 0.0
    quarter_turns: int = 0
    mirrored: bool = False


WHOLE = Window()
SHIFTED = [
    Window(zoom, down * SHIFT * SIDE / zoom, right * SHIFT * SIDE / zoom)
    for zoom in ZOOMS
    for down in (-1, 0, 1)
    for right in (-1, 0, 1)
]
TURNED = [
    Window(quarter_turns=turns, mirrored=mirrored)
    for turns in range(4)
    for mirrored in (False, True)
    if turns or mirrored
]


@dataclass(frozen=True)
class Pairs:
    """Pairs (P,) of image indices of two splits, by decreasing margin.

    `similarity` is the largest cosine of two windows. `margin` is the similarity minus the mean
    similarity of both images to their nearest others.
    """

    first: np.ndarray
    second: np.ndarray
    similarity: np.ndarray
    margin: np.ndarray

    def __len__(self) -> int:
        return len(self.margin)

    def found(self, threshold: float) -> Pairs:
        """The pairs with at least that margin, and copies."""
        chosen = (self.margin >= threshold) | (self.similarity >= COPY)
        return Pairs(
            self.first[chosen], self.second[chosen], self.similarity[chosen], self.margin[chosen]
        )


class Embedding:
    """Unit vectors of windows, with components fitted to some images (N, H, W, C) uint8."""

    def __init__(self, images: Images) -> None:
        chosen = np.linspace(0, len(images) - 1, min(len(images), FITTED)).astype(int)
        pixels = contrasts(images[chosen]).reshape(len(chosen), SIDE * SIDE, -1)
        windows = np.einsum("gp,npc->ngc", sampling(WHOLE), pixels, optimize=True)
        windows -= windows.mean(axis=1, keepdims=True)
        windows = _unit(windows.reshape(len(windows), -1))
        variances, directions = np.linalg.eigh(windows.T @ windows / len(windows))
        largest = slice(None, -COMPONENTS - 1, -1)
        scales = np.sqrt(variances[largest].clip(min=0) + RIDGE * variances[-1] + SMALLEST**2)
        components = (directions[:, largest] / scales).reshape(GRID * GRID, pixels.shape[2], -1)
        # A channel's mean, which is its light, contributes to no component.
        self._components = (components - components.mean(axis=0)).astype(np.float32)
        self._matrices: dict[Window, np.ndarray] = {}

    def __call__(self, pixels: np.ndarray, window: Window) -> np.ndarray:
        """(N, COMPONENTS) of `pixels` from `contrasts`; about 0 for a window of one color."""
        if window not in self._matrices:  # sampling and projection combine, as both are linear
            matrix = np.einsum("gp,gck->pck", sampling(window), self._components, optimize=True)
            self._matrices[window] = matrix.reshape(-1, matrix.shape[2])
        return _unit(pixels.reshape(len(pixels), -1) @ self._matrices[window])


def near_duplicates(embedding: Embedding, first: Images, second: Images) -> Pairs:
    """All pairs of images of `first` and `second` (N, H, W, C) uint8 with a margin above LOWEST.

    Needs less memory if `second` has fewer images than `first`. Uses all cores: limit BLAS to one
    thread meanwhile, by `threadpoolctl.threadpool_limits(1)`.
    """
    pixels = contrasts(second)
    whole = embedding(pixels, WHOLE)
    windows = [embedding(pixels, window) for window in SHIFTED + TURNED]

    def compared(start: int) -> tuple[_Nearest, _Nearest]:
        pixels = contrasts(first[start : start + BLOCK])
        similarity = _largest_cosines(embedding, pixels, whole, windows)
        return _Nearest.of(similarity), _Nearest.of(similarity.T, start)

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # NumPy releases the GIL
        blocks = list(pool.map(compared, range(0, len(first), BLOCK)))
    of_first, of_second = zip(*blocks, strict=True)
    return _pairs(_Nearest.joined(of_first), functools.reduce(_Nearest.merged, of_second))


def _largest_cosines(
    embedding: Embedding, pixels: np.ndarray, whole: np.ndarray, windows: list[np.ndarray]
) -> np.ndarray:
    """Largest cosine (N, M) of an image and a window of the other one, in either direction."""
    own = embedding(pixels, WHOLE)
    largest = own @ windows[0].T
    product = np.empty_like(largest)
    for other in windows[1:]:
        np.maximum(largest, np.matmul(own, other.T, out=product), out=largest)
    for window in SHIFTED:
        if window.zoom > 1:  # shifts and turns alone are the same in both directions
            np.matmul(embedding(pixels, window), whole.T, out=product)
            np.maximum(largest, product, out=largest)
    return largest


@dataclass(frozen=True)
class _Nearest:
    """The nearest others of each of N images, and sums over all others."""

    similarity: np.ndarray  # (N, at most NEIGHBOURS)
    index: np.ndarray  # the same
    others: int
    sums: np.ndarray  # (2, N), of the similarities and of their squares

    @classmethod
    def of(cls, similarity: np.ndarray, start: int = 0) -> _Nearest:
        """From similarities (N, M) to others whose first index is `start`."""
        best = _best(similarity)
        values = np.take_along_axis(similarity, best, axis=1)
        sums = np.stack([similarity.sum(axis=1), np.einsum("nm,nm->n", similarity, similarity)])
        return cls(values, best + start, similarity.shape[1], sums.astype(np.float64))

    def merged(self, more: _Nearest) -> _Nearest:
        """Adds more others of the same images."""
        values = np.concatenate([self.similarity, more.similarity], axis=1)
        indices = np.concatenate([self.index, more.index], axis=1)
        best = _best(values)
        values, indices = (np.take_along_axis(each, best, axis=1) for each in (values, indices))
        return _Nearest(values, indices, self.others + more.others, self.sums + more.sums)

    @classmethod
    def joined(cls, parts: Sequence[_Nearest]) -> _Nearest:
        """Joins images that have the same others."""
        similarity = np.concatenate([part.similarity for part in parts])
        index = np.concatenate([part.index for part in parts])
        sums = np.concatenate([part.sums for part in parts], axis=1)
        return cls(similarity, index, parts[0].others, sums)

    @property
    def levels(self) -> np.ndarray:
        """Mean similarity (N,) to the nearest others, extrapolated to REFERENCE or more of them."""
        mean, square = self.sums / self.others
        deviation = np.sqrt((square - mean**2).clip(min=0))
        missing = max(0.0, _nearest_of_normal(REFERENCE) - _nearest_of_normal(self.others))
        return self.similarity.mean(axis=1) + missing * deviation


def _best(similarity: np.ndarray) -> np.ndarray:
    """Columns (N, at most NEIGHBOURS) of the largest values in each row, in any order."""
    kept = min(NEIGHBOURS, similarity.shape[1])
    return np.argpartition(-similarity, kept - 1, axis=1)[:, :kept]


def _nearest_of_normal(count: int) -> float:
    """Approximate mean of the largest NEIGHBOURS of `count` standard normal numbers."""
    if count <= NEIGHBOURS:
        return 0.0
    normal, share = NormalDist(), NEIGHBOURS / count
    return normal.pdf(normal.inv_cdf(1 - share)) / share


def _pairs(of_first: _Nearest, of_second: _Nearest) -> Pairs:
    """The pairs above the lowest margin among the nearest others of all images.

    No other pair has a margin above 0: it would exceed the mean of one image's nearest others, and
    so be among them.
    """
    rows, columns = len(of_first.index), len(of_second.index)
    own_first = np.repeat(np.arange(rows), of_first.index.shape[1])
    own_second = np.repeat(np.arange(columns), of_second.index.shape[1])
    first = np.concatenate([own_first, of_second.index.ravel()])
    second = np.concatenate([of_first.index.ravel(), own_second])
    similarity = np.concatenate([of_first.similarity.ravel(), of_second.similarity.ravel()])
    _, once = np.unique(first * columns + second, return_index=True)
    first, second, similarity = first[once], second[once], similarity[once]
    margin = similarity - (of_first.levels[first] + of_second.levels[second]) / 2
    kept = np.flatnonzero((margin > LOWEST) | (similarity >= COPY))
    order = kept[np.argsort(-margin[kept], kind="stable")]
    return Pairs(first[order], second[order], similarity[order], margin[order])


def contrasts(images: Images) -> np.ndarray:
    """Resizes images (N, H, W, C) uint8 and subtracts each channel's mean: 0 for a flat image.

    Components ignore the mean anyway, but a large mean would leave rounding errors.
    """
    pixels = resized(images)
    pixels -= pixels.mean(axis=(1, 2), keepdims=True, dtype=np.float64).astype(np.float32)
    pixels[np.abs(pixels) < ROUNDING] = 0
    return pixels


def resized(images: Images) -> np.ndarray:
    """Float32 (N, SIDE, SIDE, C) in [0, 1] from images (N, H, W, C) uint8, averaged by area."""
    rows, columns = (_areas(length) for length in images.shape[1:3])
    result = np.empty((len(images), SIDE, SIDE, images.shape[3]), np.float32)
    for start in range(0, len(images), BLOCK):  # float copies of all images would not fit in memory
        part = images[start : start + BLOCK].astype(np.float32) / 255
        part = np.einsum("ay,nyxc->naxc", rows, part, optimize=True)
        result[start : start + BLOCK] = np.einsum("bx,naxc->nabc", columns, part, optimize=True)
    return result


def _areas(length: int) -> np.ndarray:
    """Weights (SIDE, length) of `length` pixels in SIDE pixels that cover the same length."""
    step = length / SIDE
    low = np.arange(SIDE)[:, None] * step
    pixel = np.arange(length)
    overlap = np.minimum(low + step, pixel + 1) - np.maximum(low, pixel)
    return (overlap.clip(min=0) / step).astype(np.float32)


def sampling(window: Window) -> np.ndarray:
    """Weights (GRID², SIDE²) of an image's pixels in the samples of a window."""
    rows, columns = (_samples(window.zoom, shift) for shift in (window.down, window.right))
    weights = np.einsum("ay,bx->abyx", rows, columns)
    weights = np.rot90(weights, window.quarter_turns)
    if window.mirrored:
        weights = weights[:, ::-1]
    return weights.reshape(GRID * GRID, SIDE * SIDE)


def _samples(zoom: float, shift: float) -> np.ndarray:
    """Weights (GRID, SIDE) of pixels along one axis; each sample is the mean of two points."""
    points = (np.arange(2 * GRID) + 0.5) / (2 * GRID) - 0.5
    places = (points * SIDE / zoom + (SIDE - 1) / 2 + shift).clip(0, SIDE - 1)
    weights = (1 - np.abs(places[:, None] - np.arange(SIDE))).clip(min=0)
    return weights.reshape(GRID, 2, SIDE).mean(axis=1).astype(np.float32)


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Scales rows to length 1; rows near 0 stay near 0."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, SMALLEST)
