"""Let the C library keep freed memory for the next step, on Linux with glibc.

A batch frees and takes the same megabytes as the one before. By default glibc hands them back to
the system, which then clears every page anew: a third of an epoch of a small CNN
(benchmarks/epoch.py), and more of its predictions.
"""

from __future__ import annotations

import ctypes
import platform

# Parameters of mallopt, see `man mallopt`.
M_TRIM_THRESHOLD = -1  # the bytes above which freed memory at the heap's end is handed back
M_MMAP_THRESHOLD = -3  # blocks of so many bytes never lie in the heap

LARGEST_BLOCK = 32 * 2**20  # the most that glibc accepts
KEPT = 512 * 2**20
BY_DEFAULT = 2 * LARGEST_BLOCK  # what glibc comes to itself once it has freed such a block


def keep_freed_memory() -> None:
    """Keep up to `KEPT` bytes in this process instead of handing them back to the system."""
    _limit(KEPT)


def hand_back() -> None:
    """Hand back what is kept, and keep little from now on."""
    _limit(BY_DEFAULT)
    if _has_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _limit(kept: int) -> None:
    if _has_glibc():
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK)
        library.mallopt(M_TRIM_THRESHOLD, kept)


def _has_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"
