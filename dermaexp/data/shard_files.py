"""Shards as streams: asked for their version, opened by fsspec, and read member by member."""

from __future__ import annotations

import contextlib
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import urlsplit

from dermaexp.core.errors import UserError, causes, typed
from dermaexp.core.extras import required
from dermaexp.core.files import expanded
from dermaexp.data.pictures import SUFFIXES, is_passed_over
from dermaexp.data.shard_urls import SCHEMES, shown

if TYPE_CHECKING:
    import fsspec

TIMEOUT = 20  # seconds without an answer
AT_ONCE = 16  # shards that are asked for their version
BLOCK = 2**20  # bytes that are read at once
MOST = 2**28  # bytes of a member
EXAMPLE = '{"label": "melanoma", "lesion": 7}'
# What a server or file system says about a file's version, by any of these names.
VERSIONS = ("size", "ETag", "Last-Modified", "LastModified", "md5Hash", "generation", "mtime")


@dataclass
class Sample:
    """The members of a shard that share a key; what is not there is None."""

    name: str  # SHARD/KEY, as messages show it
    picture: bytes | None = None
    cls: bytes | None = None
    json: bytes | None = None

    def texts(self, label_column: str, group_column: str | None) -> tuple[str, str]:
        """Return the label and the group as a table's cells; "" where there is none."""
        fields = self._fields()
        label = _text(fields.get(label_column)) if self.cls is None else self._decoded(self.cls)
        return label, _text(fields.get(group_column)) if group_column else ""

    def _fields(self) -> dict[str, Any]:
        try:
            fields = json.loads(self._decoded(self.json or b"{}"))
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            raise UserError(f"{self.name}.json holds no JSON object: expected such as {EXAMPLE}")
        return fields

    def _decoded(self, content: bytes) -> str:
        try:
            return content.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise UserError(f"{self.name} has a label that is no text: expected UTF-8") from None


def _text(value: object) -> str:
    """A value of JSON as it would stand in a CSV file; several labels as a|b."""
    if isinstance(value, list):
        return "|".join(map(_text, value))
    return "" if value is None else str(value).strip()


def versions(urls: Sequence[str]) -> list[dict[str, str]]:
    """Return what tells the version of each shard: its size, ETag, time, as far as it has them.

    Raises UserError for the first that does not answer.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(_version, urls))


def _version(url: str) -> dict[str, str]:
    with _naming(url):
        info = _file_system(url).info(_place(url))
        return {key: str(info[key]) for key in VERSIONS if info.get(key) is not None}


def samples(url: str, advance: Callable[[int], object]) -> Iterator[Sample]:
    """Yield the samples of a shard, which is read as a stream; nothing is extracted to a disk.

    Calls `advance` with the number of bytes that were read. Raises UserError for a shard that is
    no tar file, is cut short or has no samples, and for a key that stands twice.
    """
    seen: set[str] = set()
    current: tuple[str, Sample] | None = None
    shard = PurePosixPath(urlsplit(url).path).name
    for member, content in _members(url, advance):
        key, suffix = _key_and_suffix(member)
        if current is None or current[0] != key:
            if current:
                yield current[1]
            if key in seen:
                raise UserError(f"{shown(url)} has {key} twice: expected each key once")
            seen.add(key)
            current = (key, Sample(f"{shard}/{key}"))
        field = suffix if suffix in ("cls", "json") else "picture"
        if getattr(current[1], field) is not None:
            raise UserError(f"{shown(url)} has several members {key} with a {field}: expected one")
        setattr(current[1], field, content)
    if current is None:
        raise UserError(
            f"{shown(url)} has no samples: expected members KEY.jpg with KEY.cls or KEY.json, KEY "
            "without a dot"
        )
    yield current[1]


def _members(url: str, advance: Callable[[int], object]) -> Iterator[tuple[str, bytes]]:
    """The names and contents of the members of a sample."""
    with _naming(url), _opened(url) as file:
        stream = cast(BinaryIO, _Counted(file, advance))
        with tarfile.open(fileobj=stream, mode="r|*", bufsize=BLOCK, tarinfo=_Member) as tar:
            for member in tar:
                if member.isreg() and _is_wanted(member.name):
                    if member.size > MOST:
                        raise UserError(
                            f"{shown(url)}: {member.name} has {member.size:,} bytes: expected at "
                            f"most {MOST:,}"
                        )
                    content = tar.extractfile(member)
                    assert content is not None  # it is a regular file
                    yield member.name, content.read()
                tar.members.clear()  # type: ignore[attr-defined]  # else Python 3.11 keeps all


def _key_and_suffix(member: str) -> tuple[str, str]:
    """Split a member's name at the first dot of its last part, as WebDataset does."""
    folder, slash, name = member.rpartition("/")
    stem, _, suffix = name.partition(".")
    return f"{folder}{slash}{stem}", suffix.lower()


def _is_wanted(member: str) -> bool:
    suffix = _key_and_suffix(member)[1]
    known = suffix in ("cls", "json") or f".{suffix}" in SUFFIXES
    return known and not is_passed_over(PurePosixPath(member))


class _Member(tarfile.TarInfo):
    """A member whose damaged header is an error: tarfile takes it for the end of the archive."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> _Member:
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"no header at byte {tar.offset:,}: {error}") from error


class _Counted:
    """A stream that says how much was read of it."""

    def __init__(self, file: BinaryIO, advance: Callable[[int], object]) -> None:
        self.file, self.advance = file, advance

    def read(self, size: int) -> bytes:
        content = self.file.read(size)
        self.advance(len(content))
        return content


def _opened(url: str) -> contextlib.AbstractContextManager[BinaryIO]:
    whole = {"block_size": 0} if urlsplit(url).scheme.startswith("http") else {}
    return _file_system(url).open(_place(url), "rb", **whole)  # one request, not one a block


def _place(url: str) -> str:
    return url if urlsplit(url).scheme else str(expanded(url).absolute())


def _file_system(url: str) -> fsspec.AbstractFileSystem:
    import fsspec

    scheme = urlsplit(url).scheme
    if package := SCHEMES[scheme]:
        required(package, scheme)
    options: dict[str, Any] = {}
    if scheme.startswith("http"):
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT, sock_read=TIMEOUT)
        options = {"client_kwargs": {"timeout": timeout, "trust_env": True}}  # proxies
    return fsspec.filesystem(scheme or "file", **options)


@contextlib.contextmanager
def _naming(url: str) -> Iterator[None]:
    """Raise any error as a UserError that names the shard."""
    try:
        yield
    except UserError:
        raise
    except tarfile.TarError as error:
        raise UserError(f"{shown(url)} is cut short or no tar file ({error})") from error
    except Exception as error:  # those of HTTP, S3 and file systems have nothing in common
        raise UserError(f"{shown(url)} cannot be read ({_why(error, url)})") from error


def _why(error: BaseException, url: str) -> str:
    import aiohttp

    host = urlsplit(url).hostname
    for cause in causes(error):
        if isinstance(cause, aiohttp.ClientResponseError):
            return f"{host} answered {cause.status} {cause.message}"
        if isinstance(cause, TimeoutError):
            return f"no answer from {host} within {TIMEOUT} s"
        if isinstance(cause, (aiohttp.ClientConnectorError, ConnectionRefusedError)):
            return f"no connection to {host}"
        if isinstance(cause, (aiohttp.ClientError, ConnectionError)):
            return f"the connection to {host} broke"
        if isinstance(cause, FileNotFoundError):
            return "there is no such file"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    return typed(next(causes(error)))
