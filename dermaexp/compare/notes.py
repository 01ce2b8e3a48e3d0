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
    checks = [_unusual_value(runs, *value) for value in VALUES]
    checks += [_unusual_part(runs, part, text) for part, text in PARTS.items()]
    noted = []
    for group in groups:
        notes = list(group.notes)
        for check in checks:
            unusual: dict[str, list[Run]] = {}
            for run in group.runs:
                if text := check(run):
                    unusual.setdefault(text, []).append(run)
            notes += [f"{seeds_text(some)} {text}" for text, some in unusual.items()]
        resumed = (
            f"{seeds_text([run])} was resumed by other code ({_code(attempt)})"
            for run in group.runs
            for attempt in run.record.get("resumed", [])
            if attempt["code_digest"] != run.record["code_digest"]
        )
        notes += dict.fromkeys(resumed)  # a run may be resumed several times
        noted.append(replace(group, notes=tuple(notes)))
    return noted


def _code(record: Mapping[str, Any]) -> str:
    commit = record["git_commit"]
    version = f"commit {commit[:7]}{commit[40:]}" if commit else "no commit"
    return f"{version}, digest {record['code_digest'][:8]}"


def _unusual_value(
    runs: Sequence[Run], of: Callable[[Run], str], shown: Callable[[Run], str], text: str
) -> Callable[[Run], str]:
    """Returns the sentence on a run in which a value is not the most common; "" if it is."""
    ((value, _),) = Counter(map(of, runs)).most_common(1)
    usual = next(run for run in runs if of(run) == value)
    return lambda run: "" if of(run) == value else text.format(shown(run), shown(usual))


def _unusual_part(runs: Sequence[Run], part: str, text: str) -> Callable[[Run], str]:
    """The same for all values in a part of run.json, such as "torch 2.4 instead of 2.5"."""
    counts: dict[str, Counter[str]] = {}  # of each name's values; runs may lack some
    for run in runs:
        for name, value in _part(run, part).items():
            counts.setdefault(name, Counter())[value] += 1
    usual = {name: own.most_common(1)[0][0] for name, own in counts.items()}

    def sentence(run: Run) -> str:
        pairs = ", ".join(
            f"{name} {str(value)[:SHOWN]} instead of {str(usual[name])[:SHOWN]}"
            for name, value in sorted(_part(run, part).items())
            if value != usual[name]
        )
        return text.format(pairs) if pairs else ""

    return sentence


def _part(run: Run, part: str) -> dict[str, str]:
    record: Mapping[str, Any] = run.record
    return record.get(part, {})


def _device(run: Run) -> str:
    return run.record["device"]["type"]


SHOWN = 20  # characters of a version or of a digest
# part of run.json -> the sentence on a run with an unusual value in it
PARTS = {"versions": "ran with {}", "own_code": "ran other code of the user's: {}"}
# what is compared: a run's value, how it is shown, and the sentence on a run with an unusual one
VALUES: tuple[tuple[Callable[[Run], str], Callable[[Run], str], str], ...] = (
    (
        lambda run: run.record["code_digest"],
        lambda run: _code(run.record),
        "ran other code ({}; others {})",
    ),
    (_device, _device, "ran on {}, others on {}"),
    (
        lambda run: run.source_fingerprint,
        lambda run: f"{run.data['name']} {run.source_fingerprint[:8]}",
        "had other training or validation data ({}; others {})",
    ),
)
