"""The command line: `python -m dermaexp [VERB | KEY=VALUE] …`. No torch before a run starts."""

from __future__ import annotations

import gc
import os
import signal
import sys

from dermaexp.core import processes
from dermaexp.core.console import print_error
from dermaexp.core.errors import INTERRUPTED
from dermaexp.core.given_once import check_keys
from dermaexp.core.version import __version__
from dermaexp.inference import verbs
from dermaexp.launch.command import execute
from dermaexp.launch.explain import RunError, explain
from dermaexp.runs.folders import remove_unused


def main() -> None:
    """Run a verb or Hydra; every error ends as one line and an exit code other than 0.

    Of several processes that torchrun or Slurm started, only process 0 does.
    """
    if processes.rank() > 0:
        from dermaexp.training.worker import follow

        sys.exit(follow())
    if processes.count() > 1:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # from torchrun, as Ctrl-C there
    full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"
    try:
        if verb := verbs.verb_of(sys.argv[1:]):
            verbs.run(verb)
        elif "--version" in sys.argv:
            print(f"dermaexp {__version__}")
        else:
            # As typed: what is resumed may hold a key twice, and so may a list in Python, whose
            # author extends it on purpose.
            check_keys(sys.argv[1:])
            execute(sys.argv[1:])
    except KeyboardInterrupt:
        print_error("interrupted")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # such as of `python -m dermaexp --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (Exception, RunError) as error:
        remove_unused()
        if full_error:
            raise
        print_error(explain(error))
        sys.exit(1)
    finally:
        if processes.count() > 1:
            from dermaexp.training.distributed import release

            release(int(sys.exception() is not None))
        gc.freeze()  # Python ends sooner: it looks for no garbage among all that was imported


if __name__ == "__main__":
    main()
