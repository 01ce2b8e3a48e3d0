"""`python -m dermaexp demo RUN`: a page on this machine where a run's model answers pictures."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import sys
import tempfile
import time
import warnings
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from dermaexp.core.console import console, print_warning
from dermaexp.core.errors import UserError
from dermaexp.core.extras import required
from dermaexp.core.given_once import Flags
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.finished import finished

HOST = "127.0.0.1"
FIRST_PORT = 7860  # as Gradio's
PORTS = 100  # to try, from it on
MOST_PIXELS = 50_000_000  # of an uploaded picture
OFFLINE = {  # Gradio reads these when it is imported
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",  # would keep answers in the browser
    "GRADIO_SERVER_NAME": HOST,
    "GRADIO_SHARE": "False",
    "HF_HUB_OFFLINE": "1",
    "NO_PROXY": "*",
    "no_proxy": "*",
}


def main() -> None:
    """Serve the page until Ctrl-C; what was uploaded is deleted then."""
    given = _parser().parse_args(namespace=Flags())
    if given.port is not None and not 1 <= given.port <= 65535:
        raise UserError(f"--port {given.port}: expected a number from 1 to 65535")
    directory = RunDirectory(given.run)
    finished(directory)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="dermaexp-demo-") as uploads:
        os.environ.update(OFFLINE, GRADIO_TEMP_DIR=uploads)
        with contextlib.suppress(KeyboardInterrupt):
            _serve(directory, given.port, opens_browser=not given.no_browser)
    console.print("ended; uploaded pictures are deleted")


def _serve(directory: RunDirectory, port: int | None, *, opens_browser: bool) -> None:
    """Return never, but by KeyboardInterrupt."""
    from PIL import Image

    # Pillow warns of more pixels, and refuses twice as many.
    Image.MAX_IMAGE_PIXELS = MOST_PIXELS // 2
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    with console.status("loading the model, and what it sees in the training images"):
        for package in ("captum", "gradio"):
            required(package, "demo")
        from dermaexp.inference.demonstrated import demonstrated  # with torch

        run = demonstrated(directory)
        from dermaexp.inference.demo_page import page, served
    if run.missing:
        print_warning(f"the page shows no images of the run: {run.missing}")
    ports = range(FIRST_PORT, FIRST_PORT + PORTS) if port is None else [port]
    with served(page(run), HOST, free_port(ports)) as address:
        line = f"demo of {run.title}: {address} (Ctrl-C ends it)"
        console.print(line, soft_wrap=True, markup=False)
        if opens_browser and _has_screen():
            webbrowser.open(address)
        while True:
            time.sleep(3600)


def free_port(ports: Sequence[int]) -> int:
    """Return the first port of this machine that is free; UserError if all are taken."""
    for port in ports:
        with socket.socket() as own, contextlib.suppress(OSError):
            own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # else waits after a server
            own.bind((HOST, port))
            return port
    which = f"port {ports[0]} is" if len(ports) == 1 else f"ports {ports[0]} to {ports[-1]} are"
    raise UserError(f"{which} taken or not allowed: give another --port")


def _has_screen() -> bool:
    """Whether a browser would open in a window, not in this terminal."""
    screens = ("DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform in ("darwin", "win32") or any(map(os.environ.get, screens))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dermaexp demo",
        description="Serve a page on this machine alone, where the model of a finished run "
        "answers pictures: probabilities, explanation and the most similar training images.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory")
    parser.add_argument(
        "--port",
        type=int,
        metavar="N",
        help=f"of {HOST}; default: the first free one from {FIRST_PORT}",
    )
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    return parser
