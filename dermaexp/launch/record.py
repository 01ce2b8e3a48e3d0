"""run.json during a run: running, then finished, pruned, failed or interrupted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from dermaexp.launch.explain import explain
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.provenance import provenance


@contextlib.contextmanager
def recording(
    directory: RunDirectory, earlier: Mapping[str, Any] | None = None, *, ends: bool = True
) -> Iterator[dict[str, Any]]:
    """Keep run.json up to date with the run inside: running, then how it ended.

    Yields the record; what is added to it is written at the end, or earlier by `write_run`. The
    record of an `earlier` attempt stays until this one has loaded its "data". A run that does not
    end here, but is resumed by this command, is left as running.
    """
    record = {"status": "running", "started": _now(), "finished": None, **provenance()}
    if earlier is None:
        directory.write_run(record)
    try:
        yield record
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        record["status"] = "interrupted" if interrupted else "failed"
        record["error"] = None if interrupted else explain(error)
        record["finished"] = _now()
        if earlier is None or "data" in record:
            # On a full disk this fails too; the error itself matters more.
            with contextlib.suppress(OSError):
                directory.write_run(record)
        raise
    if ends:
        record["finished"] = _now()
        record["status"] = "pruned" if "pruned_after" in record else "finished"
    directory.write_run(record)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
