"""The arrays of an npz, memory-mapped.

NumPy maps .npy files but no member of an npz. One that is stored as it is, as by np.savez, is
mapped in place; a compressed one is unpacked once into the user's cache folder.
"""

from __future__ import annotations

import hashlib
import struct
import zipfile
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.lib import format as npy
from platformdirs import user_cache_path

from dermaexp.core.errors import UserError
from dermaexp.core.files import written_whole

LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip: signature, …, lengths of name and extra field
CHUNK = 2**22  # bytes


class Header(NamedTuple):
    """What an .npy file says of its array."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def header_of(file: Path, key: str) -> Header:
    """Return the header of an array in the npz; BadZipFile or ValueError if it is damaged."""
    with zipfile.ZipFile(file) as archive, archive.open(_info(archive, key)) as member:
        return _header(member)


def mapped(file: Path, key: str) -> np.memmap:
    """Return an array of the npz mapped into memory, read-only.

    Raises UserError where it is compressed and the user's cache folder has no room for it.
    """
    with zipfile.ZipFile(file) as archive:
        info = _info(archive, key)
        if info.compress_type == zipfile.ZIP_STORED:
            return _mapped_at(file, _content_start(file, info))
        return _mapped_at(_unpacked(archive, file, info), 0)


def _info(archive: zipfile.ZipFile, key: str) -> zipfile.ZipInfo:
    names = archive.namelist()
    return archive.getinfo(next(name for name in (f"{key}.npy", key) if name in names))


def _mapped_at(file: Path, start: int) -> np.memmap:
    with file.open("rb") as content:
        content.seek(start)
        header, offset = _header(content), content.tell()
    shape = header.shape[::-1] if header.fortran_order else header.shape
    array = np.memmap(file, header.dtype, "r", offset, shape)
    return array.T if header.fortran_order else array


def _header(member: IO[bytes]) -> Header:
    version = npy.read_magic(member)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    return Header(*read(member))


def _content_start(file: Path, info: zipfile.ZipInfo) -> int:
    with file.open("rb") as content:
        content.seek(info.header_offset)
        signature, name, extra = LOCAL_HEADER.unpack(content.read(LOCAL_HEADER.size))
    if signature != b"PK\3\4":
        raise zipfile.BadZipFile(f"no member at {info.header_offset}")
    return info.header_offset + LOCAL_HEADER.size + name + extra


def _unpacked(archive: zipfile.ZipFile, file: Path, info: zipfile.ZipInfo) -> Path:
    """The member as a file of its own in the user's cache folder, unpacked if it is not there.

    Two processes at once unpack once.
    """
    from filelock import FileLock

    state = file.stat()
    known = [str(file.resolve()), state.st_size, state.st_mtime_ns, info.filename, info.CRC]
    name = hashlib.sha256(repr(known).encode()).hexdigest()
    whole = user_cache_path("dermaexp") / "unpacked" / f"{name}.npy"
    try:
        whole.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(whole.with_name(f".{name}.lock")):
            if not whole.is_file() or whole.stat().st_size != info.file_size:
                _unpack(archive, info, whole)
    except OSError as error:
        raise UserError(
            f"{info.filename} of {file} cannot be unpacked to {whole.parent} ({error.strerror}): "
            f"expected room for {info.file_size / 1e9:.3g} GB; give another folder by "
            "XDG_CACHE_HOME, or a dataset.max_resident_gb that holds it in memory"
        ) from error
    return whole


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo, whole: Path) -> None:
    from dermaexp.core.console import progress_bar

    with (
        written_whole(whole) as sink,
        archive.open(info) as member,
        progress_bar() as progress,
    ):
        bar = progress.add_task(f"unpacking {info.filename}", total=info.file_size)
        while chunk := member.read(CHUNK):
            sink.write(chunk)
            progress.advance(bar, len(chunk))
