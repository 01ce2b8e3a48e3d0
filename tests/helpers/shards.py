"""Shards of small pictures, and a server that has them and fails as a test wants."""

from __future__ import annotations

import http.server
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.errors import InstantiationException
from omegaconf import OmegaConf
from PIL import Image

from dermaexp.core.errors import UserError, line_of
from dermaexp.data import load
from dermaexp.data.splits import Splits

Members = list[tuple[str, bytes]]


class ShardServer(http.server.ThreadingHTTPServer):
    """Serves `files` by their path and counts the requests of each method.

    `faults` has for a request such as "GET /a.tar" what goes wrong with it, one after the other:
    a status, or "cut" for a connection that closes half way.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, Iterator[int | str]] = {}
        self.requests: list[str] = []
        self.ranges: list[str] | None = None  # those asked for, where the server takes any
        self.retry_after: str | None = None  # seconds, beside a status
        self.waited: list[int] = []  # seconds that would have passed before further tries

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def pattern(self) -> str:
        """The URLs of all shards of CONTENT."""
        return f"{self.url}/derma/{{train,val,test}}-{{0..1}}.tar"

    def handle_error(self, *_: object) -> None:
        """Print nothing where a client stops before the end."""


class Handler(http.server.BaseHTTPRequestHandler):
    server: ShardServer

    def do_HEAD(self) -> None:
        self.answer(with_content=False)

    def do_GET(self) -> None:
        self.answer(with_content=True)

    def answer(self, with_content: bool) -> None:
        path = self.path.partition("?")[0]
        self.server.requests.append(f"{self.command} {path}")
        fault = next(self.server.faults.get(self.server.requests[-1], iter(())), None)
        content = self.server.files.get(path)
        if isinstance(fault, int) or content is None:
            return self.refuse(fault if isinstance(fault, int) else 404)
        etag, start = f'"{hash(content)}"', 0
        if self.server.ranges is not None and self.headers["If-Range"] == etag:
            self.server.ranges.append(self.headers["Range"])
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        rest = content[start:]
        self.send_header("Content-Length", str(len(rest)))
        self.send_header("ETag", etag)
        self.end_headers()
        if with_content:
            self.wfile.write(rest[: len(rest) // 2 if fault == "cut" else None])

    def refuse(self, status: int) -> None:
        self.send_response(status)
        if self.server.retry_after:
            self.send_header("Retry-After", self.server.retry_after)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def png(level: int, size: int = 8) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (size, size), (level, 255 - level, 7)).save(sink, "PNG")
    return sink.getvalue()


def tar(members: Members, mode: str = "w") -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode=mode) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return sink.getvalue()


def shard_members(label: str, levels: range, start: int = 0) -> Members:
    members = []
    for index, level in enumerate(levels, start):
        members += [
            (f"{label}{index:03}.cls", label.encode()),
            (f"{label}{index:03}.png", png(level)),
        ]
    return members


# Two shards a split, of two classes, in the order of class folders.
CONTENT = {
    "train-0": shard_members("a", range(0, 12)),
    "train-1": shard_members("a", range(12, 15), 12) + shard_members("b", range(15, 30)),
    "val-0": shard_members("a", range(30, 36)),
    "val-1": shard_members("b", range(36, 39)),
    "test-0": shard_members("a", range(40, 48)) + shard_members("b", range(48, 49)),
    "test-1": shard_members("b", range(50, 52), 1),
}


def loaded(target: str, max_resident_gb: float | None = None, **own: object) -> Splits:
    keys = {"grayscale": False, "normalize": False, "max_resident_gb": max_resident_gb}
    config = {"_target_": f"dermaexp.data.{target}.load", "size": 8, **keys, **own}
    load.forget()
    return load.load_splits(OmegaConf.create(config))


def refusal(**own: object) -> str:
    """The line that a user reads where these shards cannot be loaded."""
    with pytest.raises((UserError, InstantiationException)) as error:
        loaded("shards", **own)
    line = line_of(error.value)
    assert "\n" not in line
    return line


def cached(folder: Path) -> dict[str, bytes]:
    """The files of all pictures in this cache that are whole."""
    files = [file for file in folder.rglob("*.*") if file.suffix in (".npy", ".json")]
    return {file.name: file.read_bytes() for file in files}
