"""The embedded data set: drawn dermoscopy-like lesions with DermaMNIST's classes and counts."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pooch

from dermaexp.core.console import console
from dermaexp.core.errors import UserError
from dermaexp.core.files import write_bytes
from dermaexp.data import npz
from dermaexp.data.lesions import CLASSES, VERSION, draw_splits
from dermaexp.data.splits import SPLITS, Splits, checked_splits

SMALLEST = 8  # pixels
QUICKLY_DRAWN = 64  # pixels, in some seconds


def load(size: int = 28, seed: int = 0) -> Splits:
    """The synthetic set at `size` pixels, drawn once and kept in the user's cache folder."""
    if not isinstance(size, int) or size < SMALLEST:
        raise UserError(f"dataset.size={size}: expected a whole number of pixels from {SMALLEST}")
    if not isinstance(seed, int) or seed < 0:
        raise UserError(f"dataset.seed={seed}: expected a whole number from 0")
    file = pooch.os_cache("dermaexp") / f"synthetic_v{VERSION}_{size}px_seed{seed}.npz"
    try:
        arrays = npz.read_arrays(file)
    except UserError:  # not drawn yet, or damaged
        if size > QUICKLY_DRAWN:
            console.print(f"drawing the lesions at {size} px, once: takes a while")
        arrays = draw_splits(size, seed)
        with contextlib.suppress(OSError):  # a cache that cannot be written is only slower
            write_bytes(file, _npz_bytes(arrays))
    name = "Drawn lesions" + ("" if size == 28 else f" {size} px")
    return checked_splits(name, CLASSES, arrays, origin=str(file), synthetic=True)


def _npz_bytes(arrays: dict[str, tuple[np.ndarray, np.ndarray]]) -> bytes:
    buffer = io.BytesIO()
    flat = {npz.SYNTHETIC_KEY: np.array(True)}
    for split in SPLITS:
        flat[f"{split}_images"], flat[f"{split}_labels"] = arrays[split]
    np.savez(buffer, **flat)
    return buffer.getvalue()
