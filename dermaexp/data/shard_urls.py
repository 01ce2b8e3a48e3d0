"""Where shards lie: patterns of URLs or paths, and the splits that their names tell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from dermaexp.core.errors import UserError
from dermaexp.data.split_names import split_of
from dermaexp.data.splits import SPLITS

# What may be read; a package beside fsspec that it takes. Others of fsspec's start programs.
SCHEMES = {"": None, "http": None, "https": None, "s3": "s3fs"}
BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"(\d+)\.\.(\d+)")
MOST = 100_000  # shards: a pattern with more has a slip of the pen


def shard_urls(patterns: str | Sequence[str]) -> list[str]:
    """Return the URLs or paths that the patterns stand for, each once and in their order.

    {a,b} stands for a and b, {008..010} for 008, 009 and 010, as in a shell and in WebDataset.
    Raises UserError for a scheme that is not read.
    """
    given = [patterns] if isinstance(patterns, str) else patterns
    urls = list(dict.fromkeys(url for pattern in given for url in _expanded(str(pattern))))
    for url in urls:
        if urlsplit(url).scheme not in SCHEMES:
            raise UserError(
                f"dataset.url={url}: expected https://, http:// or s3://, or the path of a .tar "
                "file"
            )
    return urls


def _expanded(pattern: str) -> list[str]:
    found = BRACES.search(pattern)
    if not found:
        return [pattern]
    choices = _choices(found[1])
    before, rest = pattern[: found.start()], _expanded(pattern[found.end() :])
    if len(choices) * len(rest) > MOST:
        raise UserError(f"dataset.url={pattern} stands for more than {MOST:,} shards")
    return [f"{before}{choice}{end}" for choice in choices for end in rest]


def _choices(inside: str) -> Sequence[str]:
    span = RANGE.fullmatch(inside)
    if not span:
        return inside.split(",")
    first, last = span.groups()
    width = len(first) if first.startswith("0") else 0
    numbers = range(int(first), int(last) + 1)[: MOST + 1]
    if not numbers:
        raise UserError(f"dataset.url has {{{inside}}}: expected the smaller number first")
    return [f"{number:0{width}}" for number in numbers]


def splits_of_shards(urls: Sequence[str]) -> list[str] | None:
    """Return the split of each shard, by the words of its name or the name of its folder.

    None where no name tells one. Raises UserError where only some names tell a split.
    """
    folders = {_path(url).parent for url in urls}
    splits = [_split(_path(url), by_folder=len(folders) > 1) for url in urls]
    if not any(splits):
        return None
    for url, split in zip(urls, splits, strict=True):
        if not split:
            raise UserError(
                f"{shown(url)} is of no split, others are of {', '.join(_known(splits))}: expected "
                f"{', '.join(SPLITS)} in each name or in none"
            )
    return [split for split in splits if split]


def _split(path: PurePosixPath, by_folder: bool) -> str | None:
    """The split of the first word in the file's name that is one's, or of the folder's name."""
    words = [*re.findall(r"[A-Za-z]+", path.name), *([path.parent.name] if by_folder else [])]
    return next(filter(None, map(split_of, words)), None)


def _path(url: str) -> PurePosixPath:
    parts = urlsplit(url)
    return PurePosixPath(parts.path if parts.scheme else url)


def _known(splits: Sequence[str | None]) -> list[str]:
    return [split for split in SPLITS if split in splits]


def shown(url: str) -> str:
    """Return the URL as messages show it: without a password or the signature of a link."""
    parts = urlsplit(url)
    if not parts.scheme:
        return url
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def name_of_shards(urls: Sequence[str]) -> str:
    """Return what tables call the data where no name is given: their folder's, or the server's."""
    folder = _path(urls[0]).parent
    if split_of(folder.name):
        folder = folder.parent
    return folder.name or urlsplit(urls[0]).hostname or "shards"
