"""Commands in processes of their own, and the processes that they leave."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import textwrap
from collections.abc import Callable
from multiprocessing.forkserver import ensure_running
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from dermaexp.__main__ import main
from dermaexp.core.processes import variables

TESTS = Path(__file__).resolve().parents[1]

# A server without threads or tests forks the commands: they need not wait for imports, and no lock
# that another thread of the tests holds can stop them.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["preloaded"])


def started(folder: Path, *arguments: str) -> BaseProcess:
    """Start the command line in `folder`; what it prints goes to files beside that folder."""
    return _start(_run, folder, arguments, dict(os.environ))


def _start(target: Callable[..., Any], *arguments: Any) -> BaseProcess:
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    with variables({"PYTHONPATH": path}):  # the server has to find `preloaded`
        ensure_running()
    process = CONTEXT.Process(target=target, args=arguments)
    process.start()
    return process


def _run(folder: Path, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # else ignored in the background
    os.chdir(folder)
    sys.argv[:] = ["dermaexp", *arguments]
    output, errors = printed(folder)
    with output.open("a") as sys.stdout, errors.open("a") as sys.stderr:
        main()


def run_lean(code: str) -> None:
    """Run the code in a process that has imported what a run does; its failure is the test's."""
    process = _start(exec, textwrap.dedent(code))
    process.join(timeout=100)
    assert process.exitcode == 0, "see standard error"


def printed(folder: Path) -> tuple[Path, Path]:
    """The files with standard output and error of the commands started in `folder`."""
    return folder.with_name(f"{folder.name}.out"), folder.with_name(f"{folder.name}.err")


def processes_in(folder: Path) -> list[int]:
    """Numbers of the other processes that work in `folder`, where the system lists them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            there = (process / "cwd").readlink() == folder
        except OSError:  # it has ended, or is another user's
            continue
        if there and int(process.name) != os.getpid():
            found.append(int(process.name))
    return found
