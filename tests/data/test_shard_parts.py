"""Shards whose reading was interrupted: the next one starts after the last whole shard."""

from __future__ import annotations

import errno
import itertools
import os
from pathlib import Path

import pytest
from helpers.shards import ShardServer, cached, loaded, refusal, shard_members, tar

from dermaexp.data import shard_tries

ORDER = [
    f"GET /derma/{split}-{number}.tar" for split in ("train", "val", "test") for number in "01"
]
BROKEN = ORDER[3]


def read(server: ShardServer) -> list[str]:
    return [asked for asked in server.requests if asked.startswith("GET")]


def left(folder: Path) -> list[Path]:
    """What is in the second cache of parts."""
    return [*folder.glob("another/dermaexp/pictures/[!.]*-part*")]


@pytest.fixture
def interrupted(
    shard_set: ShardServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ShardServer:
    """A server whose shards were read whole into one cache, and three of six into another."""
    loaded("shards", url=shard_set.pattern)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    shard_set.faults[BROKEN] = itertools.repeat("cut")
    assert "val-1.tar cannot be read in 4 tries" in refusal(url=shard_set.pattern)
    assert cached(tmp_path / "another") == {}
    assert len(left(tmp_path)) == 2
    shard_set.faults.clear()
    shard_set.requests.clear()
    return shard_set


def test_finished_shards_are_not_read_again(interrupted: ShardServer, tmp_path: Path) -> None:
    loaded("shards", url=interrupted.pattern)
    assert read(interrupted) == ORDER[3:]
    assert cached(tmp_path / "another") == cached(tmp_path / "cache") != {}
    assert not left(tmp_path)


def test_ctrl_c_keeps_them_too(
    interrupted: ShardServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shard_tries, "sleep", stop)
        interrupted.faults[ORDER[4]] = iter([503])
        loaded("shards", url=interrupted.pattern)
    interrupted.requests.clear()
    loaded("shards", url=interrupted.pattern)
    assert read(interrupted) == ORDER[4:]
    assert cached(tmp_path / "another") == cached(tmp_path / "cache")


def test_a_shard_that_changed_meanwhile_is_read_again(
    interrupted: ShardServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted.files["/derma/train-1.tar"] = tar(shard_members("b", range(15, 30)))
    changed = loaded("shards", url=interrupted.pattern)
    assert read(interrupted) == ORDER[1:]
    found = cached(tmp_path / "another")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "third"))
    assert loaded("shards", url=interrupted.pattern).fingerprint == changed.fingerprint
    assert cached(tmp_path / "third") == found


@pytest.mark.parametrize(
    ("file", "cut", "kept"),
    [
        ("*-part", slice(128 + 36 * 8 * 8 * 3), 3),  # the header and the pictures of three shards
        ("*-part", slice(128 + 36 * 8 * 8 * 3 - 1), 2),
        ("*-part", slice(100), 0),
        ("*-part", slice(0), 0),
        ("*.jsonl", slice(-1), 3),
        ("*.jsonl", slice(-2), 2),
        ("*.jsonl", slice(0), 0),
    ],
)
def test_what_a_loss_of_power_cut_short_is_read_again(
    file: str, cut: slice, kept: int, interrupted: ShardServer, tmp_path: Path
) -> None:
    (found,) = tmp_path.glob(f"another/dermaexp/pictures/{file}")
    found.write_bytes(found.read_bytes()[cut])
    loaded("shards", url=interrupted.pattern)
    assert read(interrupted) == ORDER[kept:]
    assert cached(tmp_path / "another") == cached(tmp_path / "cache")


def test_a_full_disk_is_not_left_full(
    interrupted: ShardServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert len(loaded("shards", url=interrupted.pattern).train) == 30
    assert read(interrupted) == [BROKEN, *ORDER]  # then all of them, into memory
    assert not left(tmp_path)
