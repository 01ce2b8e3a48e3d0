"""The command line: `python -m dermaexp KEY=VALUE …`. No torch before an experiment starts."""

from __future__ import annotations

import os
import signal
import sys

import hydra
from omegaconf import OmegaConf

from dermaexp import __version__
from dermaexp.core import processes
from dermaexp.core.console import print_error
from dermaexp.core.errors import INTERRUPTED
from dermaexp.launch import flags, folders, resume, sweep, swept
from dermaexp.launch.config_folder import config_folder
from dermaexp.launch.explain import RunError, explain
from dermaexp.launch.help import help_keys
from dermaexp.launch.job import task
from dermaexp.launch.search.password import without_password
from dermaexp.runs.folders import new_folder, portable, remove_unused


def main() -> None:
    """Run Hydra over `conf/`; every error ends as one line and an exit code other than 0.

    Of several processes that torchrun or Slurm started, only process 0 does.
    """
    if processes.rank() > 0:
        from dermaexp.training.worker import follow

        sys.exit(follow())
    if processes.count() > 1:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # from torchrun, as Ctrl-C there
    # Threads that wait should sleep soon, not spin: two trainings at once on the same cores are
    # several times faster so (benchmarks/two_at_once.py). OpenMP reads it when torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"
    # Makes Hydra raise its errors here instead of printing them in its own way.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    OmegaConf.register_new_resolver("new_folder", new_folder, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("portable", portable, replace=True)
    OmegaConf.register_new_resolver("job_folder", folders.job_folder, replace=True)
    OmegaConf.register_new_resolver("help_keys", help_keys, replace=True)
    try:
        if "--version" in sys.argv:
            print(f"dermaexp {__version__}")
            return
        given = flags.parsed(without_password(resume.expanded(sys.argv[1:])))
        swept.left[:] = swept.deferred(given.overrides) if given.is_sweep else []
        now = [override for override in given.overrides if override not in swept.left]
        sys.argv[1:] = flags.joined(given.flags, now)
        hydra.main(str(config_folder()), "config", version_base="1.3")(task)()
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
        sweep.until_the_end.close()
        if processes.count() > 1:
            from dermaexp.training.distributed import release

            release(int(sys.exception() is not None))
        if not full_error:
            del os.environ["HYDRA_FULL_ERROR"]


if __name__ == "__main__":
    main()
