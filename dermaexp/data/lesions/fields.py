"""Random numbers, smooth noise, spots and lines for the synthetic lesion images.

Everything here gives the same bytes on every machine: random numbers come from the raw stream of
Philox, and the arithmetic is float32 with operations that IEEE 754 rounds exactly (no exp, sin or
power, and no sums over an axis, whose order differs with the SIMD width).

Planes are stored as (rows, columns, images), so that a parameter of shape (images,) broadcasts
against them. Coordinates y (rows,) and x (columns,) run from -1 to 1 across the image; the width
of a pixel is 2 / size.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]  # float32, which NumPy's types lose beside Python's floats


class Stream:
    """Uniform float32 numbers for n images, from the raw 64-bit Philox stream of the key."""

    def __init__(self, key: NDArray[np.uint64], n: int) -> None:
        self.n = n
        self._bits = np.random.Philox(key=key)

    def uniform(self, *shape: int) -> Array:
        """Numbers in [0, 1), shape (*shape, n)."""
        count = self.n
        for length in shape:
            count *= length
        raw = self._bits.random_raw((count + 1) // 2)
        words = np.concatenate([raw >> np.uint64(40), raw & np.uint64(0xFFFFFF)])
        # 24 bits are exact in float32.
        return (words[:count].astype(np.float32) * 2.0**-24).reshape(*shape, self.n)

    def signed(self, *shape: int) -> Array:
        """Numbers in [-1, 1), shape (*shape, n)."""
        return self.uniform(*shape) * 2.0 - 1.0

    def between(self, low: float, high: float, *shape: int) -> Array:
        """Numbers in [low, high), shape (*shape, n)."""
        return self.uniform(*shape) * (high - low) + low

    def normal(self) -> Array:
        """Nearly normal numbers of mean 0 and deviation 1, shape (n,)."""
        a, b, c = self.signed(3)
        return a + b + c

    def direction(self, *shape: int) -> tuple[Array, Array]:
        """Cosine and sine of a random angle, each of shape (*shape, n)."""
        a, b = self.signed(2, *shape)
        length = np.sqrt(a * a + b * b) + 1e-6
        return a / length, b / length

    def grain(self, size: int) -> NDArray[np.uint8]:
        """Random bytes, shape (size, size, n)."""
        count = size * size * self.n
        raw = self._bits.random_raw((count + 7) // 8)
        # Shifts, not a view as bytes, whose order would depend on the machine.
        parts = [(raw >> np.uint64(shift)).astype(np.uint8) for shift in range(0, 64, 8)]
        return np.concatenate(parts)[:count].reshape(size, size, self.n)


def smooth(t: Array) -> Array:
    """Smoothstep: 0 for t <= 0, 1 for t >= 1."""
    t = np.clip(t, 0.0, 1.0)
    out = t * -2.0
    out += 3.0
    out *= t
    out *= t
    return out


class Noise:
    """Smooth noise of mean 0 and deviation about 1: a quadratic B-spline over a random grid."""

    def __init__(self, stream: Stream, cells: int) -> None:
        self.cells = cells
        self.grid = stream.signed(cells + 3, cells + 3) * 3.0

    def at(self, y: Array, x: Array) -> Array:
        """Values, shape (rows, columns, images)."""
        out: Array = self.grid
        for axis, t in enumerate((y, x)):
            t = (t + 1.0) * (0.5 * self.cells)
            cell = np.floor(t)
            f = t - cell
            first = cell.astype(np.intp)
            weights = (0.5 * (1.0 - f) * (1.0 - f), 0.5 + f - f * f, 0.5 * f * f)
            total: Array = np.zeros((), np.float32)
            for k, weight in enumerate(weights):
                part = np.take(out, first + k, axis=axis)
                part *= weight[:, None, None] if axis == 0 else weight[:, None]
                part += total
                total = part
            out = total
        return out


class Spots:
    """Round spots, at most one in each cell of a grid that repeats every 16 cells.

    Radii are in cells, at most 0.5.
    """

    side = 16  # a power of two, so that the division by it is exact

    def __init__(self, stream: Stream, low: float, high: float) -> None:
        self.n = stream.n
        count = self.side * self.side
        self.radius = stream.between(low, high, count)
        self.cu = stream.signed(count) * (0.5 - self.radius) + 0.5
        self.cv = stream.signed(count) * (0.5 - self.radius) + 0.5
        self.rank = stream.uniform(count)

    def at(self, u: Array, v: Array, density: Array | float, pixel: Array) -> Array:
        """Height in [0, 1] at u, v, of the spots ranked below density; pixel also in cells."""
        # No narrower than a pixel, else a spot could fall between the pixel centres.
        radius = np.maximum(self.radius, np.minimum(pixel * 0.6, 0.5))
        steep = 1.0 / (radius * radius)
        top = np.where(self.rank < density, np.float32(1), np.float32(-9))
        column = np.floor(u)
        row = np.floor(v)
        u = u - column
        v = v - row
        row -= np.floor(row * (1.0 / self.side)) * self.side
        column -= np.floor(column * (1.0 / self.side)) * self.side
        row *= self.side
        row += column
        row *= self.n
        index = row.astype(np.intp)
        index += np.arange(self.n)
        u -= np.take(self.cu, index)
        v -= np.take(self.cv, index)
        u *= u
        v *= v
        u += v
        u *= np.take(steep, index)
        out = np.take(top, index)
        out -= u
        return np.maximum(out, 0.0, out=out)


class Strokes:
    """Curved lines that taper from their start to their end, in the images where on is true."""

    def __init__(
        self,
        start: tuple[Array, Array],
        direction: tuple[Array, Array],
        length: Array,
        bend: Array,
        width: Array,
        on: NDArray[np.bool_],
    ) -> None:
        """All but on of shape (lines, images); width is half the line's; bend its curvature."""
        self.n = len(on)
        self.images = np.flatnonzero(on)
        values = (*start, *direction, length, bend, width)
        self.lines = np.stack([value[:, self.images] for value in values], axis=1)

    def at(self, y: Array, x: Array, pixel: float) -> Array:
        """Height in [0, 1], shape (rows, columns, images)."""
        best = np.zeros((len(y), len(x), len(self.images)), np.float32)
        for sy, sx, dy, dx, length, bend, width in self.lines:
            v = y[:, None, None] - sy
            u = x[:, None] - sx
            along = u * dx + v * dy
            across = v * dx - u * dy
            across -= along * along * bend
            # A line thinner than a pixel becomes a pixel wide and paler instead.
            shown = np.maximum(width, 0.5 * pixel)
            np.abs(across, out=across)
            across *= 1.0 / shown
            across -= 1.5
            across *= -(width / shown)
            t = along * (1.0 / length)
            # 1 in the middle, 0 at both ends, with a slope steeper at the start.
            end = np.minimum(t * 12.0, (1.0 - t) * 2.0)
            np.minimum(across, end, out=across)
            np.maximum(best, across, out=best)
        out = np.zeros((len(y), len(x), self.n), np.float32)
        out[:, :, self.images] = np.minimum(best, 1.0)
        return out


def network(u: Array, v: Array) -> Array:
    """Lines of a honeycomb with cells of width 1: 1 on the lines, 0 in the holes."""
    nearest = np.full_like(u, np.inf)
    v = v * 0.57735026
    for shift in (0.5, 0.0):
        a = u + shift
        a -= np.floor(a)
        a -= 0.5
        np.abs(a, out=a)
        b = v + shift
        b -= np.floor(b)
        b -= 0.5
        np.abs(b, out=b)
        b *= 1.5
        b += 0.5 * a
        np.maximum(a, b, out=a)
        np.minimum(nearest, a, out=nearest)
    nearest *= nearest
    return smooth(nearest * 6.0 - 0.45)
