"""Shards by fsspec: asked for their version, and read as streams that outlive a connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dermaexp.core.errors import UserError
from dermaexp.core.extras import required
from dermaexp.core.files import expanded
from dermaexp.data.shard_tries import TIMEOUT, WAITS, tried
from dermaexp.data.shard_urls import SCHEMES, shown

if TYPE_CHECKING:
    import aiohttp
    import fsspec

AT_ONCE = 16  # shards that are asked for their version
BLOCK = 2**20  # bytes that are read at once
# What a server or file system says about a file's version, by any of these names.
VERSIONS = ("size", "ETag", "Last-Modified", "LastModified", "md5Hash", "generation", "mtime")


def versions(urls: Sequence[str], waits: tuple[int, ...] = WAITS) -> list[dict[str, str]]:
    """Return what tells the version of each shard: its size, ETag, time, as far as it has them.

    Raises UserError for the first that does not answer, also after the `waits` in seconds.
    """

    def version(url: str) -> dict[str, str]:
        info = tried(url, lambda: _file_system(url).info(_place(url)), waits)
        return {key: str(info[key]) for key in VERSIONS if info.get(key) is not None}

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(version, urls))


class Stream:
    """The bytes of a shard in turn; after a broken connection it goes on at the byte where it was.

    It asks the server for the rest alone. Where that sends the whole shard, it passes over what it
    had. Calls `advance` with the number of bytes that were read. Raises UserError for a shard that
    cannot be read, or that changed meanwhile.
    """

    def __init__(self, url: str, advance: Callable[[int], object]) -> None:
        self.url, self.advance = url, advance
        self._at = 0
        self._file: Any = None  # fsspec's, open at that byte
        self._known: dict[str, str] = {}  # what the first answer said of the shard

    def read(self, size: int) -> bytes:
        """Return some of the next bytes, at most `size`; none at the end."""
        content = tried(self.url, lambda: self._read(size))
        self._at += len(content)
        self.advance(len(content))
        return content

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None

    def _read(self, size: int) -> bytes:
        try:
            if self._file is None:
                self._open()
            return self._file.read(size)
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        system = _file_system(self.url)
        if not urlsplit(self.url).scheme.startswith("http"):
            self._file = system.open(_place(self.url), "rb")
            return
        # One request, not one a block, nor one for the size, which a stream does not need.
        headers = {"Accept-Encoding": "identity", **self._range()}
        self._file = system.open(self.url, "rb", block_size=0, size=1, headers=headers)
        answer = self._file.r
        if self._at == 0:
            self._known = _identity(answer)
        elif not self._is_same(answer) or (answer.status != 206 and not self._passes_over()):
            raise UserError(f"{shown(self.url)} changed while it was read: start again")

    def _range(self) -> dict[str, str]:
        """Headers that ask for the rest if the shard is the same, and else for all of it."""
        validator = self._known.get("ETag") or self._known.get("Last-Modified")
        if self._at == 0 or not validator or "Content-Encoding" in self._known:
            return {}  # bytes of a content that was unpacked on the way are not the server's
        return {"Range": f"bytes={self._at}-", "If-Range": validator}

    def _is_same(self, answer: aiohttp.ClientResponse) -> bool:
        """Whether the answer is the same shard, the whole of it or from the right byte on."""
        found = _identity(answer)
        is_same = all(self._known.get(key, value) == value for key, value in found.items())
        start = answer.headers.get("Content-Range", "")
        return is_same and (answer.status != 206 or start.startswith(f"bytes {self._at}-"))

    def _passes_over(self) -> bool:
        """Read the bytes again that were read before; whether there are as many."""
        left = self._at
        while left and (content := self._file.read(min(left, BLOCK))):
            left -= len(content)
        return left == 0


def _identity(answer: aiohttp.ClientResponse) -> dict[str, str]:
    """What an answer says of its shard, as far as it does."""
    names = ("ETag", "Last-Modified", "Content-Encoding")
    said = {name: answer.headers[name] for name in names if name in answer.headers}
    whole = answer.headers.get("Content-Length", "")
    if answer.status == 206:
        whole = answer.headers.get("Content-Range", "").rpartition("/")[2]
    return said | ({"size": whole} if whole.isdecimal() else {})


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
