"""What sets single runs of a comparison apart: other code, packages, device or training data."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dermaexp.groups import Group
from dermaexp.replicates import told
from dermaexp.runs import Run


def with_peculiarities(groups: Sequence[Group]) -> list[Group]:
    """The groups with notes on runs by other code, packages or devices than most, or other data."""
    runs = [run for group in groups for run in group.runs]
    usual = {name: _commonest(runs, of) for name, (of, _) in PECULIARITIES.items()}
    noted = []
    for group in groups:
        notes = list(group.notes)
        for name, (of, sentence) in PECULIARITIES.items():
            others: dict[str, list[Run]] = {}
            for run in group.runs:
                if of(run) != of(usual[name]):
                    others.setdefault(sentence(run, usual[name]), []).append(run)
            notes += [f"{told(some)} {text}" for text, some in others.items()]
        notes += [
            f"{told([run])} was resumed by other code ({_code(attempt)})"
            for run in group.runs
            for attempt in run.record.get("resumed", [])
            if attempt.get("code_digest") != run.record["code_digest"]
        ]
        noted.append(replace(group, notes=tuple(notes)))
    return noted


def _commonest(runs: Sequence[Run], of: Callable[[Run], str]) -> Run:
    """A run with the commonest value."""
    ((value, _),) = Counter(map(of, runs)).most_common(1)
    return next(run for run in runs if of(run) == value)


def _code(record: Mapping[str, Any]) -> str:
    commit = record.get("git_commit")
    version = f"commit {commit[:7]}{commit[40:]}" if commit else "no commit"
    return f"{version}, digest {record.get('code_digest', 'unknown')[:8]}"


def _other_packages(run: Run, usual: Run) -> str:
    own, others = run.record.get("versions", {}), usual.record.get("versions", {})
    pairs = [
        f"{name} {own.get(name)} instead of {others.get(name)}"
        for name in sorted(own | others)
        if own.get(name) != others.get(name)
    ]
    return f"ran with {', '.join(pairs)}"


def _device(run: Run) -> str:
    return run.record.get("device", {}).get("type", "an unknown device")


# what is compared -> (its value of a run, the sentence on a run where it is not the commonest)
PECULIARITIES: dict[str, tuple[Callable[[Run], str], Callable[[Run, Run], str]]] = {
    "code": (
        lambda run: run.record["code_digest"],
        lambda run, usual: f"ran other code ({_code(run.record)}; others {_code(usual.record)})",
    ),
    "packages": (
        lambda run: json.dumps(run.record.get("versions", {}), sort_keys=True),
        _other_packages,
    ),
    "device": (_device, lambda run, usual: f"ran on {_device(run)}, others on {_device(usual)}"),
    "data": (
        lambda run: run.source_fingerprint,
        lambda run, usual: (
            f"had other training or validation data ({run.data['name']} "
            f"{run.source_fingerprint[:8]}; others {usual.data['name']} "
            f"{usual.source_fingerprint[:8]})"
        ),
    ),
}
