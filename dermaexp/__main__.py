"""The command line: `python -m dermaexp KEY=VALUE …`; no torch before an experiment starts."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import hydra
from hydra._internal.utils import get_args_parser
from omegaconf import OmegaConf

from dermaexp import __version__
from dermaexp.core.console import print_error
from dermaexp.core.errors import UserError, nearest
from dermaexp.core.overrides import as_typed
from dermaexp.launch import folders, resume, sweep, swept, validate
from dermaexp.launch.config import config_folder
from dermaexp.launch.explain import RunError, explain
from dermaexp.launch.job import task
from dermaexp.runs.folders import new_folder, portable, remove_unused

MULTIRUN = {"-m", "--multirun"}
INTERRUPTED = 130  # the shell's code for a program ended by Ctrl-C


def main() -> None:
    """Run Hydra over `conf/`; every error ends as one line and an exit code other than 0."""
    # Threads that wait should sleep soon, not spin: two trainings at once on the same cores are
    # several times faster so (benchmarks/two_at_once.py). Read by OpenMP when torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"
    # Makes Hydra hand its errors on to us instead of printing them in its own way.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    OmegaConf.register_new_resolver("new_folder", new_folder, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("portable", portable, replace=True)
    OmegaConf.register_new_resolver("job_folder", folders.job_folder, replace=True)
    try:
        if "--version" in sys.argv:
            print(f"dermaexp {__version__}")
            return
        flags, overrides = parsed(resume.expanded(sys.argv[1:]))
        swept.left[:] = swept.deferred(overrides) if MULTIRUN & set(flags) else []
        sys.argv[1:] = [*flags, *(one for one in overrides if one not in swept.left)]
        hydra.main(str(config_folder()), "config", version_base="1.3")(task)()
    except KeyboardInterrupt:
        print_error("interrupted")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # as of `python -m dermaexp --help | head`
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
        if not full_error:
            del os.environ["HYDRA_FULL_ERROR"]


def parsed(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Hydra's flags with their values, and the overrides: it takes no override after a flag.

    Raises UserError for a flag that Hydra does not have, naming the nearest that it has.
    """
    parser = get_args_parser()
    parser.error = _raise_user_error  # type: ignore[method-assign]
    known, rest = parser.parse_known_args(arguments)
    for flag in rest:
        if flag.startswith("-"):
            valid = [option for option in parser._option_string_actions if option.startswith("--")]
            hint = _as_override(flag, arguments) or nearest(flag, valid)
            raise UserError(f"the flag {flag} is unknown: {hint}")
    overrides = [*known.overrides, *rest]
    return [argument for argument in arguments if argument not in overrides], overrides


def _as_override(flag: str, arguments: Sequence[str]) -> str | None:
    """What to give instead of --KEY=VALUE or --KEY VALUE, where KEY is a key of the config."""
    key, equals, value = flag.lstrip("-").partition("=")
    key = key.replace("-", "_")
    if key.partition(".")[0] not in (*validate.KEYS, *validate.GROUPS, "experiment"):
        return None
    behind = arguments[arguments.index(flag) + 1 :]
    if not equals and behind and not behind[0].startswith("-") and "=" not in behind[0]:
        value = behind[0]
    return f"give {as_typed(key, value or 'VALUE')}"


def _raise_user_error(message: str) -> None:
    raise UserError(f"{message}: see python -m dermaexp --help")


if __name__ == "__main__":
    main()
