"""Shards from a server that is disturbed: asked again a few times, and read on where it broke."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Callable
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from helpers import NO_FIGURES
from helpers.shards import CONTENT, ShardServer, cached, loaded, refusal, tar
from yarl import URL

from dermaexp.core.errors import UserError
from dermaexp.data import shard_tries
from dermaexp.data.shard_tries import tried
from dermaexp.data.splits import SPLITS

FIRST = "/derma/train-0.tar"
# More than what lies on the way between two programs: half of it arrives before the end is seen.
LARGE = tar([*CONTENT["train-0"], ("notes.bin", bytes(2**25))])


@pytest.mark.parametrize("takes_ranges", [True, False])
def test_a_broken_connection_changes_no_byte(
    takes_ranges: bool,
    shard_set: ShardServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shard_set.files[FIRST] = LARGE
    whole = loaded("shards", url=shard_set.pattern)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    shard_set.ranges = [] if takes_ranges else None
    shard_set.requests.clear()
    shard_set.faults = {
        f"GET {FIRST}": iter(["cut"]),
        "GET /derma/test-0.tar": iter(["cut"]),  # it is compressed
        "GET /derma/test-1.tar": iter([500, 429]),
    }
    broken = loaded("shards", url=shard_set.pattern)
    assert broken.fingerprint == whole.fingerprint
    for split in SPLITS:
        np.testing.assert_array_equal(broken[split].images, whole[split].images)
    assert cached(tmp_path / "another") == cached(tmp_path / "cache") != {}
    assert sum(asked.startswith("GET") for asked in shard_set.requests) == 6 + 1 + 1 + 2
    assert shard_set.waited == [1, 1, 1, 2]
    if shard_set.ranges is not None:
        start = int(shard_set.ranges[0].removeprefix("bytes=").removesuffix("-"))
        assert 0 < start <= len(LARGE) / 2


def test_bytes_that_arrived_are_no_try(shard_set: ShardServer) -> None:
    """A connection that breaks again and again, but each time later, reaches the end."""
    content = tar([*CONTENT["train-0"], ("notes.bin", bytes(2**26))])
    shard_set.files[FIRST] = content
    shard_set.ranges = []
    shard_set.faults[f"GET {FIRST}"] = iter(["cut"] * 4)
    assert len(loaded("shards", url=shard_set.pattern).train) == 30
    assert len(set(shard_set.ranges)) == len(shard_set.ranges) == 4
    assert shard_set.waited == [1] * 4


@pytest.mark.parametrize("takes_ranges", [True, False])
def test_a_shard_that_changes_while_it_is_read_stops(
    takes_ranges: bool, shard_set: ShardServer
) -> None:
    shard_set.files[FIRST] = LARGE
    shard_set.ranges = [] if takes_ranges else None
    shard_set.faults[f"GET {FIRST}"] = iter(["cut"])

    def change(_: int) -> None:
        shard_set.files[FIRST] = LARGE[:1024] + LARGE

    shard_tries.sleep = change  # the fixture puts it back
    line = refusal(url=shard_set.pattern)
    assert line == f"{shard_set.url}{FIRST} changed while it was read: start again"


def test_a_connection_that_always_breaks_ends_the_run(
    shard_set: ShardServer,
    cli: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    shard_set.faults["GET /derma/val-1.tar"] = itertools.repeat("cut")
    own = ["dataset=shards", f'dataset.url="{shard_set.pattern}"', "dataset.size=8", "model=ffn"]
    assert cli(*own, "epochs=1", "hydra.run.dir=cut", *NO_FIGURES) == 1
    assert capsys.readouterr().err == (
        f"error: {shard_set.url}/derma/val-1.tar cannot be read in 4 tries (the connection to "
        "127.0.0.1 broke)\n"
    )
    assert shard_set.waited[-3:] == [1, 2, 4]  # after those at which more bytes arrived
    assert cached(tmp_path / "cache") == {}


def test_what_cannot_help_is_asked_once(shard_set: ShardServer) -> None:
    del shard_set.files[FIRST]
    assert refusal(url=f"{shard_set.url}{FIRST}").endswith("(127.0.0.1 answered 404 Not Found)")
    assert shard_set.requests == [f"HEAD {FIRST}", f"GET {FIRST}"]  # both ask for its version
    shard_set.faults["GET /derma/test-1.tar"] = iter([403])
    assert refusal(
        url=shard_set.pattern.replace("{train,val,test}-{0..1}", "test-{0..1}")
    ).endswith("test-1.tar cannot be read (127.0.0.1 answered 403 Forbidden)")
    assert shard_set.requests.count("GET /derma/test-1.tar") == 1
    assert shard_set.waited == []


def test_the_server_may_say_how_long_to_wait(shard_set: ShardServer) -> None:
    asked = f"GET {FIRST}"
    shard_set.faults[asked] = iter([503, 503])
    shard_set.retry_after = "7"
    first = loaded("shards", url=shard_set.pattern)
    assert shard_set.waited == [7, 7]
    shard_set.retry_after = "3600"
    shard_set.faults[asked] = iter([429])
    assert refusal(url=shard_set.pattern, size=4) == (
        f"{shard_set.url}{FIRST} cannot be read (127.0.0.1 answered 429 Too Many Requests and "
        "asks to wait 3,600 s)"
    )
    shard_set.retry_after = "Wed, 21 Oct 2015 07:28:00 GMT"
    shard_set.faults[asked] = iter([503])
    assert len(loaded("shards", url=shard_set.pattern, size=4).train) == len(first.train)
    assert shard_set.waited == [7, 7, 1]


def test_versions_are_asked_for_again_only_where_nothing_is_cached(shard_set: ShardServer) -> None:
    for method in ("HEAD", "GET"):  # fsspec asks by both
        shard_set.faults[f"{method} {FIRST}"] = iter([503])
    first = loaded("shards", url=shard_set.pattern)
    assert shard_set.waited == [1]
    for method in ("HEAD", "GET"):
        shard_set.faults[f"{method} {FIRST}"] = iter([503])
    again = loaded("shards", url=shard_set.pattern)
    assert again.fingerprint == first.fingerprint
    assert "answered 503 Service Unavailable): the pictures are those" in again.notes[0].text
    assert shard_set.waited == [1]


REQUEST = aiohttp.RequestInfo(URL("http://h/a.tar"), "GET", {})  # type: ignore[arg-type]
KEY = aiohttp.client_reqrep.ConnectionKey("h", 443, True, True, None, None, None)


@pytest.mark.parametrize(
    ("url", "error", "tries", "reason"),
    [
        ("http://h/a.tar", TimeoutError(), 4, "in 4 tries (no answer from h within 20 s)"),
        ("http://h/a.tar", ConnectionResetError(), 4, "in 4 tries (the connection to h broke)"),
        ("https://h/a.tar", ConnectionRefusedError(), 4, "in 4 tries (no connection to h)"),
        ("http://h/a.tar", aiohttp.ServerDisconnectedError(), 4, "in 4 tries (the connection to h"),
        ("http://h/a.tar", aiohttp.ClientResponseError(REQUEST, (), status=502), 4, "answered 502"),
        ("http://h/a.tar", aiohttp.ClientResponseError(REQUEST, (), status=410), 1, "answered 410"),
        (
            "https://h/a.tar",
            aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(1, "no")),
            1,
            "a.tar cannot be read (no connection to h)",
        ),
        ("http://h/a.tar", OSError(28, "No space left on device"), 1, "read (No space left on"),
        ("s3://h/a.tar", TimeoutError(), 1, "cannot be read (no answer from h"),
        ("/mnt/a.tar", ConnectionResetError(), 1, "cannot be read ("),
    ],
)
def test_which_errors_are_tried_again(
    url: str, error: Exception, tries: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(shard_tries, "sleep", asked.append)

    def ask() -> None:
        raise error

    with pytest.raises(UserError) as raised:
        tried(url, ask)
    assert asked == [1, 2, 4][: tries - 1]
    assert str(raised.value).startswith(f"{url} cannot be read")
    assert reason in str(raised.value)
