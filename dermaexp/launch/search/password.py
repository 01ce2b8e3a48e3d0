"""The password in `hydra.sweeper.storage=URL`, which no file must record and no message show."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from urllib.parse import unquote

VARIABLE = "PGPASSWORD"  # PostgreSQL's client library reads it
STORAGE = re.compile(r"\+{0,2}hydra\.sweeper\.storage=")
PLACES = (  # of a password in a URL, up to the last @ as it may hold one itself
    re.compile(r"(://[^:/?@]*):(.*)(?=@)"),
    re.compile(r"([?&])password=([^&'\"]*)&?"),
)


def without_password(arguments: Sequence[str]) -> list[str]:
    """The command line's arguments, with the password of the storage moved to PGPASSWORD.

    Before Hydra sees them: it keeps the arguments in several files, and quotes those it refuses.
    """
    for argument in filter(STORAGE.match, arguments):
        for found in filter(None, (place.search(argument) for place in PLACES)):
            os.environ[VARIABLE] = unquote(found[2])
    return [stripped(one) if STORAGE.match(one) else one for one in arguments]


def stripped(url: str) -> str:
    """The URL without its password."""
    for place in PLACES:
        url = place.sub(r"\1", url)
    return url
