"""A server of shards, for the tests of `dataset=shards`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import serving
from helpers.shards import CONTENT, ShardServer, tar

from dermaexp.data import shard_tries


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ShardServer]:
    """A server without files, a cache of this test's own, and no waiting."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    server = ShardServer()
    monkeypatch.setattr(shard_tries, "sleep", server.waited.append)
    with serving(server):
        yield server


@pytest.fixture
def shard_set(server: ShardServer) -> ShardServer:
    """The shards of CONTENT; some are compressed."""
    for name, members in CONTENT.items():
        content = tar(members, "w:gz" if name == "test-0" else "w")
        server.files[f"/derma/{name}.tar"] = content
    return server
