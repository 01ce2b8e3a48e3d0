"""The provenance of a run's numbers: command, code, versions."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from dermaexp.core.overrides import command
from dermaexp.core.version import __version__

PACKAGES = (  # whose versions can change a number
    "torch",
    "torchvision",
    "pytorch-lightning",
    "torchmetrics",
    "hydra-core",
    "medmnist",
    "numpy",
    "scipy",
    "scikit-learn",
    "pillow",
)
KNOWN = {*(name.replace("-", "_") for name in PACKAGES), "dermaexp", "hydra_plugins"}  # modules
PACKAGE = Path(__file__).resolve().parents[1]
COMMAND = "DERMAEXP_COMMAND"  # environment variable: the sweep's, in the processes of its jobs


def provenance() -> dict[str, Any]:
    """The command, the code and the versions of this process, as in run.json."""
    return {
        "command": os.environ.get(COMMAND) or command(*sys.argv[1:]),
        **_code(),
        "versions": dict(_versions()),
        "platform": platform.platform(),
    }


def components(config: Any) -> dict[str, dict[str, str]]:
    """What the `_target_`s add: "versions" of packages and digests of the user's "own_code".

    `config` is resolved. A module or package outside of any distribution is the user's own; its
    digest covers its file, or all files of the package.
    """
    targets = _targets(config)
    tops = {target.partition(".")[0] for target in targets} - KNOWN
    if "dermaexp.models.timm_net.build" in targets:
        tops.add("timm")
    packages = metadata.packages_distributions() if tops else {}
    versions, own_code = {}, {}
    for top in sorted(tops):
        if top in packages:
            package = packages[top][0]
            versions[package] = metadata.version(package)
        elif origin := _origin(top):
            own_code[top] = code_digest(origin)
    return {"versions": versions, "own_code": own_code}


def _targets(node: Any) -> set[str]:
    """Every `_target_` in the config."""
    if isinstance(node, dict):
        own = {node["_target_"]} if isinstance(node.get("_target_"), str) else set()
        return own.union(*map(_targets, node.values()))
    return set().union(*map(_targets, node)) if isinstance(node, list) else set()


def _origin(module: str) -> Path | None:
    """The file or the folder of a top-level module; None if it has none."""
    try:
        spec = importlib.util.find_spec(module)
    except ValueError:  # it was not imported: __main__ of a script or a notebook
        file = getattr(sys.modules[module], "__file__", None)
        return Path(file) if file else None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin) if spec.has_location and spec.origin else None


@functools.cache
def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "dermaexp": __version__}
    return versions | {package: metadata.version(package) for package in PACKAGES}


@functools.cache  # the code that was loaded: files may change while a sweep runs
def _code() -> dict[str, str | None]:
    return {"git_commit": git_commit(PACKAGE), "code_digest": code_digest(PACKAGE)}


def code_digest(package: Path) -> str:
    """SHA-256 of a source file, or of the sources in the folder `package`.

    Distinguishes versions if git has no commit.
    """
    digest = hashlib.sha256()
    for file in [package] if package.is_file() else sorted(package.rglob("*.py")):
        digest.update(f"{file.relative_to(package).as_posix()} ".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def git_commit(package: Path) -> str | None:
    """The commit of the code in `package`, with "+changes" if code or configs differ from it.

    None if git does not track it, as in an environment inside another checkout.
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
