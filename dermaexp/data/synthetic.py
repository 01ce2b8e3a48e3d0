"""The embedded data set: synthetic dermoscopy-like lesions, classes and counts of DermaMNIST."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
from platformdirs import user_cache_path
from tqdm import tqdm

from dermaexp.core import rules
from dermaexp.core.errors import UserError
from dermaexp.core.files import write_bytes
from dermaexp.data import npz
from dermaexp.data.config import SyntheticConfig
from dermaexp.data.lesions import CLASS_COUNTS, CLASSES, VERSION, generate_splits
from dermaexp.data.splits import SPLITS, Splits, checked_splits

QUICK = 64  # pixels, generated in some seconds


def load(size: int = 28, seed: int = 0, max_resident_gb: float | None = None) -> Splits:
    """The synthetic set at `size` pixels, generated once and kept in the user's cache folder."""
    rules.check(SyntheticConfig, {"size": size, "seed": seed}, "dataset")
    file = user_cache_path("dermaexp") / f"synthetic_v{VERSION}_{size}px_seed{seed}.npz"
    try:
        arrays = npz.read_arrays(file, max_resident_gb)
    except UserError:  # not generated yet, or damaged
        total = sum(map(sum, CLASS_COUNTS.values()))
        # As downloads do; where the output is no terminal, there is no bar.
        hidden = True if size <= QUICK else None
        with tqdm(total=total, desc="synthetic lesions", unit=" images", disable=hidden) as bar:
            arrays = generate_splits(size, seed, progress=bar.update)
        with contextlib.suppress(OSError):  # a cache that cannot be written is only slower
            write_bytes(file, _npz_bytes(arrays))
    name = "Synthetic lesions" + ("" if size == 28 else f" {size} px")
    return checked_splits(name, CLASSES, arrays, origin=str(file), synthetic=True)


def _npz_bytes(arrays: dict[str, tuple[np.ndarray, np.ndarray]]) -> bytes:
    buffer = io.BytesIO()
    flat: dict[str, Any] = {npz.SYNTHETIC_KEY: np.array(True)}
    for split in SPLITS:
        flat[f"{split}_images"], flat[f"{split}_labels"] = arrays[split]
    np.savez(buffer, **flat)
    return buffer.getvalue()
