"""What is asked for a shard: asked again where its server is disturbed, its errors as one line."""

from __future__ import annotations

from collections.abc import Callable
from time import sleep
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from dermaexp.core.errors import UserError, causes, typed
from dermaexp.data.shard_urls import shown

if TYPE_CHECKING:
    import aiohttp

TIMEOUT = 20  # seconds without an answer
WAITS = (1, 2, 4)  # seconds before each further try
LONGEST = 60  # seconds to wait where a server says how long
Result = TypeVar("Result")


def tried(url: str, ask: Callable[[], Result], waits: tuple[int, ...] = WAITS) -> Result:
    """Return what `ask` returns; call it again after each of `waits` where that may help.

    It may after a broken connection, a timeout and the answers 429 and 5xx of a server; s3fs tries
    again itself. Raises UserError that names the shard, the tries and the reason.
    """
    left = list(waits) if urlsplit(url).scheme.startswith("http") else []
    tries = 1
    while True:
        try:
            return ask()
        except UserError:
            raise
        except Exception as error:  # those of HTTP, S3 and file systems have nothing in common
            if not left or (seconds := _pause(error, left.pop(0))) is None:
                raise failure(url, error, tries) from error
        sleep(seconds)
        tries += 1


def _pause(error: Exception, seconds: int) -> int | None:
    """The seconds before the next try: those given, or more; None if another try cannot help."""
    import aiohttp

    for cause in causes(error):
        if isinstance(cause, aiohttp.ClientResponseError):
            asked = _retry_after(cause)
            is_brief = cause.status == 429 or cause.status >= 500
            return max(seconds, asked) if is_brief and asked <= LONGEST else None
        if isinstance(cause, aiohttp.ClientSSLError):
            return None
        broken = (ConnectionError, aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)
        if isinstance(cause, (TimeoutError, *broken)):
            return seconds
    return None


def _retry_after(error: aiohttp.ClientResponseError) -> int:
    """The seconds that the server wants us to wait; 0 for none, and for a date."""
    asked = error.headers.get("Retry-After", "") if error.headers else ""
    return int(asked) if asked.isdecimal() else 0


def failure(url: str, error: Exception, tries: int = 1) -> UserError:
    """Return the error as a line that names the shard."""
    often = f" in {tries} tries" if tries > 1 else ""
    return UserError(f"{shown(url)} cannot be read{often} ({_why(error, url)})")


def _why(error: BaseException, url: str) -> str:
    import aiohttp

    host = urlsplit(url).hostname
    for cause in causes(error):
        if isinstance(cause, aiohttp.ClientResponseError):
            asked = _retry_after(cause)
            later = f" and asks to wait {asked:,} s" if asked > LONGEST else ""
            return f"{host} answered {cause.status} {cause.message}{later}"
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
