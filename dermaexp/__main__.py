"""The command line: `python -m dermaexp KEY=VALUE …`; no torch before an experiment starts."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

import hydra
from hydra._internal.utils import get_args_parser
from omegaconf import OmegaConf

from dermaexp import __version__
from dermaexp.core.console import print_error
from dermaexp.core.errors import UserError, nearest, nearest_of
from dermaexp.core.overrides import as_typed
from dermaexp.launch import folders, resume, sweep, swept
from dermaexp.launch.config import config_folder
from dermaexp.launch.explain import RunError, explain
from dermaexp.launch.job import task
from dermaexp.runs.folders import new_folder, portable, remove_unused

BARE = ("--info", "-i")
SWEEP = "hydra.mode=MULTIRUN"
AS_THEY_ARE = ("experiment=null",)  # a default of the config that Hydra takes from nobody
HYDRA = ("multirun", "help", "config_dir", "config_name", "version", "run", "info", "resolve")
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
        flags, overrides, is_sweep = parsed(resume.expanded(sys.argv[1:]))
        swept.left[:] = swept.deferred(overrides) if is_sweep else []
        now = [one for one in overrides if one not in swept.left]
        # A flag whose value may be left out would take the first override for it.
        last = [flags.pop()] if flags and flags[-1] in BARE else []
        sys.argv[1:] = [*flags, *now, *last]
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


def parsed(arguments: list[str]) -> tuple[list[str], list[str], bool]:
    """Hydra's flags with their values, the overrides, and whether they are a sweep's.

    Hydra takes no override after a flag. Raises UserError for a flag that it does not have, naming
    the nearest that it has, and for a value that it would change.
    """
    # Before Hydra's parser, which reads -model as -m with something behind it.
    for word in arguments:
        if re.match("-[a-z]{2}", word) and (hint := _as_override(word, arguments, 1.0)):
            raise UserError(f"the flag {word} is unknown: {hint}")
    parser = get_args_parser()
    parser.error = _raise_user_error  # type: ignore[method-assign]
    known, rest = parser.parse_known_args(arguments)
    valid = [option for option in parser._option_string_actions if option.startswith("--")]
    for flag in rest:
        if flag.startswith("-"):
            hint = _as_override(flag, arguments, 0.6) or nearest(flag, valid)
            raise UserError(f"the flag {flag} is unknown: {hint}")
    if known.config_path:
        raise UserError("--config-path is not supported: give --config-dir DIR with groups in it")
    given = [*known.overrides, *rest]
    flags = [argument for argument in arguments if argument not in given]
    overrides = [override for override in given if override not in (SWEEP, *AS_THEY_ARE)]
    if SWEEP in given and not known.multirun:
        flags.append("-m")
    for override in overrides:
        key, _, value = override.partition("=")
        if value.strip() not in ("", value):
            typed = as_typed(key, value)
            raise UserError(f"'{override}' has blanks at an end of its value: type {typed}")
    return flags, overrides, "-m" in flags or known.multirun


def _as_override(flag: str, arguments: Sequence[str], cutoff: float) -> str | None:
    """What to give instead of --KEY=VALUE or --KEY VALUE, where KEY is near a key of the config."""
    from dermaexp.launch import validate  # with pydantic, for which --cfg job should not wait

    key, equals, value = flag.lstrip("-").partition("=")
    top, dot, rest = key.replace("-", "_").partition(".")
    near = nearest_of(top, (*validate.KEYS, *validate.GROUPS, "experiment", *HYDRA), cutoff)
    if near is None or near in HYDRA:
        return None
    key = f"{near}{dot}{rest}"
    behind = arguments[arguments.index(flag) + 1 :]
    if not equals and behind and not behind[0].startswith("-") and "=" not in behind[0]:
        value = behind[0]
    return f"give {as_typed(key, value or 'VALUE')}"


def _raise_user_error(message: str) -> None:
    raise UserError(f"{message}: see python -m dermaexp --help")


if __name__ == "__main__":
    main()
