"""How much memory is free, for this process: the machine's, within the limits of its cgroup."""

from __future__ import annotations

from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def available() -> int:
    """Return the bytes that can be taken without swapping; file caches count as free."""
    return min([psutil.virtual_memory().available, *_left_in_cgroups()])


def _left_in_cgroups() -> list[int]:
    """What the limits (cgroup v2) of containers and of Slurm leave, from the own group upwards."""
    try:
        own = OWN_CGROUP.read_text().strip().rpartition("::")[2].strip("/")
    except OSError:  # no Linux
        return []
    folder, left = CGROUPS / own, []
    for group in (folder, *folder.parents):
        if not group.is_relative_to(CGROUPS):
            break
        try:
            limit = int((group / "memory.max").read_text())  # "max" without one
            used = int((group / "memory.current").read_text())
            stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            continue
        left.append(max(0, limit - used + int(stat.get("file", 0))))
    return left
