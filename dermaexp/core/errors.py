"""Errors as one line: what was given, what was expected, what to do."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Iterator

INTERRUPTED = 130  # the shell's exit code for a program ended by Ctrl-C


class UserError(Exception):
    """Bad input; its message is the whole line that the user reads."""


def nearest(given: str, valid: Iterable[str]) -> str:
    """A hint such as "did you mean 'cnn'?", or the valid values where none is near."""
    valid = list(valid)
    near = nearest_of(given, valid)
    return f"did you mean '{near}'?" if near else f"expected one of: {', '.join(valid)}"


def nearest_of(given: str, valid: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The most similar valid name, whatever its case; None if none is near."""
    names = {name.casefold(): name for name in valid}
    matches = difflib.get_close_matches(given.casefold(), names, n=1, cutoff=cutoff)
    return names[matches[0]] if matches else None


def line_of(error: BaseException) -> str:
    """One line for any error: dermaexp's own, the operating system's or another."""
    for cause in causes(error):
        if isinstance(cause, UserError):
            return str(cause)
    for cause in causes(error):
        if line := line_of_system(cause):
            return line
    return f"{typed(next(causes(error)))} (HYDRA_FULL_ERROR=1 shows where)"


def line_of_system(error: BaseException) -> str | None:
    """One line for an error of the operating system or torch's compiler; None for others."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"the disk is full{_named(error)}: free some space and start again"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}{_named(error)}"
    if type(error).__module__.startswith("torch._"):  # torch.compile's; nothing imports torch here
        reason = one_line(error).partition(" Set TORCHDYNAMO")[0]
        return f"compile=true failed: {reason}; give compile=false"
    return None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and its causes, the innermost first."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:  # an error may be its own cause
        chain.append(error)
        error = error.__cause__
    yield from reversed(chain)


def _named(error: OSError) -> str:
    return f": {error.filename}" if error.filename else ""


def typed(error: BaseException) -> str:
    """The error's type and message."""
    return f"{type(error).__name__}: {one_line(error)}"


def one_line(error: BaseException) -> str:
    """The whole message on one line."""
    return " ".join(str(error).split())


def first_line(error: BaseException) -> str:
    """The first line of the message."""
    return str(error).splitlines()[0]
