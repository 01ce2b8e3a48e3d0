"""One of the processes of a run, started by `ddp.others`."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path

from omegaconf import OmegaConf

from dermaexp.core.errors import UserError, line_of
from dermaexp.training.ddp import FINISHED, REASON


def main() -> None:
    """Run one of the processes that `others` starts; it reports to the first one on stderr."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the first process decides, and ends this one
    job = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_the_first, daemon=True).start()
    from dermaexp.core.console import console
    from dermaexp.data.load import load_splits
    from dermaexp.runs.directory import RunDirectory
    from dermaexp.training import experiment
    from dermaexp.training.clock import Clock

    console.quiet = True
    try:
        config = OmegaConf.create(job["config"])
        splits = load_splits(config.dataset)
        if splits.fingerprint != job["record"]["data"]["fingerprint"]:
            raise UserError("the data changed while the run started: start it again")
        experiment.run(
            config,
            splits,
            RunDirectory(job["directory"]),
            job["record"],
            Clock(),
            resumed=job["resumed"],
            folder=job["folder"] and Path(job["folder"]),
            rank=job["rank"],
            meeting=Path(job["meeting"]),
        )
    except BaseException as error:
        print(f"\n{REASON}{line_of(error)}", file=sys.stderr, flush=True)
        os._exit(1)  # at once, as the others may wait for this one in vain
    sys.exit(FINISHED)


def _end_with_the_first() -> None:
    """End this process when its standard input ends, which it does with the first process."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
