"""Notes on runs whose code, packages, device or training data differ from most others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dermaexp.compare.run_groups import RunGroup
from dermaexp.compare.seeds import seeds_text
from dermaexp.runs.collect import Run


def with_peculiarities(groups: Sequence[RunGroup]) -> list[RunGroup]:
    """The groups with notes on runs whose code, packages, device or data are unusual."""
    runs = [run for group in groups for run in group.runs]
    usual = {name: _commonest(runs, of) for name, (of, _) in PECULIARITIES.items()}
    usual_parts = {part: _usual(runs, part) for part in PARTS}
    noted = []
    for group in groups:
        notes = list(group.notes)
        for name, (of, sentence) in PECULIARITIES.items():
            others: dict[str, list[Run]] = {}
            for run in group.runs:
                if of(run) != of(usual[name]):
                    others.setdefault(sentence(run, usual[name]), []).append(run)
            notes += [f"{seeds_text(some)} {text}" for text, some in others.items()]
        for part, template in PARTS.items():
            unusual: dict[str, list[Run]] = {}
            for run in group.runs:
                if pairs := _unusual(run, part, usual_parts[part]):
                    unusual.setdefault(template.format(pairs), []).append(run)
            notes += [f"{seeds_text(some)} {text}" for text, some in unusual.items()]
        notes += [
            f"{seeds_text([run])} was resumed by other code ({_code(attempt)})"
            for run in group.runs
            for attempt in run.record.get("resumed", [])
            if attempt.get("code_digest") != run.record["code_digest"]
        ]
        noted.append(replace(group, notes=tuple(notes)))
    return noted


def _commonest(runs: Sequence[Run], of: Callable[[Run], str]) -> Run:
    """A run with the most common value."""
    ((value, _),) = Counter(map(of, runs)).most_common(1)
    return next(run for run in runs if of(run) == value)


def _code(record: Mapping[str, Any]) -> str:
    commit = record.get("git_commit")
    version = f"commit {commit[:7]}{commit[40:]}" if commit else "no commit"
    return f"{version}, digest {record.get('code_digest', 'unknown')[:8]}"


def _usual(runs: Sequence[Run], part: str) -> dict[str, str]:
    """Maps names in that part of run.json to their most common value; runs may lack some."""
    found: dict[str, Counter[str]] = {}
    for run in runs:
        for name, value in _part(run, part).items():
            found.setdefault(name, Counter())[value] += 1
    return {name: counts.most_common(1)[0][0] for name, counts in found.items()}


def _unusual(run: Run, part: str, usual: Mapping[str, str]) -> str:
    """What differs, such as "torch 2.4 instead of 2.5"; empty if nothing does."""
    return ", ".join(
        f"{name} {str(value)[:SHOWN]} instead of {str(usual[name])[:SHOWN]}"
        for name, value in sorted(_part(run, part).items())
        if value != usual[name]
    )


def _part(run: Run, part: str) -> dict[str, str]:
    record: Mapping[str, Any] = run.record
    return record.get(part, {})


def _device(run: Run) -> str:
    return run.record.get("device", {}).get("type", "an unknown device")


SHOWN = 20  # characters of a version or of a digest
# part of run.json -> the sentence on a run with an unusual value in it
PARTS = {"versions": "ran with {}", "own_code": "ran other code of the user's: {}"}
# what is compared -> (a run's value, the sentence on a run with an unusual value)
PECULIARITIES: dict[str, tuple[Callable[[Run], str], Callable[[Run, Run], str]]] = {
    "code": (
        lambda run: run.record["code_digest"],
        lambda run, usual: f"ran other code ({_code(run.record)}; others {_code(usual.record)})",
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
