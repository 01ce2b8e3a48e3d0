"""Where a run's numbers come from: command, code, versions."""

from __future__ import annotations

import functools
import hashlib
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import dermaexp

PACKAGES = (  # whose versions can change a number
    "torch",
    "pytorch-lightning",
    "torchmetrics",
    "hydra-core",
    "medmnist",
    "numpy",
    "scipy",
    "scikit-learn",
    "pillow",
)
PACKAGE = Path(__file__).resolve().parent


def provenance() -> dict[str, Any]:
    """The command, the code and the versions that it ran with, as in run.json."""
    versions = {"python": platform.python_version(), "dermaexp": dermaexp.__version__}
    return {
        "command": shlex.join(["python", "-m", "dermaexp", *sys.argv[1:]]),
        **_code(),
        "versions": versions | {package: metadata.version(package) for package in PACKAGES},
        "platform": platform.platform(),
    }


@functools.cache  # that which was loaded: the files may change while a sweep runs
def _code() -> dict[str, str | None]:
    return {"git_commit": git_commit(PACKAGE), "code_digest": code_digest(PACKAGE)}


def code_digest(package: Path) -> str:
    """SHA-256 of the sources in `package`: tells versions apart where git knows of no commit."""
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(f"{file.relative_to(package).as_posix()} ".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def git_commit(package: Path) -> str | None:
    """The commit of the code in `package`, with "+changes" where code or configs differ from it.

    None where git does not track it, as in an environment that lies inside some checkout.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(package), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__main__.py")
        changed = git("status", "--porcelain", "--", str(package), str(package.parent / "conf"))
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
