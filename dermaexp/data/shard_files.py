"""Shards read member by member, from streams of their bytes."""

from __future__ import annotations

import contextlib
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

from dermaexp.core.errors import UserError
from dermaexp.data.pictures import SUFFIXES, is_passed_over
from dermaexp.data.shard_streams import BLOCK, Stream
from dermaexp.data.shard_tries import failure
from dermaexp.data.shard_urls import shown

MOST = 2**28  # bytes of a member
EXAMPLE = '{"label": "melanoma", "lesion": 7}'


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
    with _naming(url), contextlib.closing(Stream(url, advance)) as stream:
        file = cast(BinaryIO, stream)
        with tarfile.open(fileobj=file, mode="r|*", bufsize=BLOCK, tarinfo=_Member) as tar:
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


@contextlib.contextmanager
def _naming(url: str) -> Iterator[None]:
    """Raise any error as a UserError that names the shard."""
    try:
        yield
    except UserError:
        raise
    except tarfile.TarError as error:
        raise UserError(f"{shown(url)} is cut short or no tar file ({error})") from error
    except Exception as error:  # those of packed content have nothing in common
        raise failure(url, error) from error
