"""Which runs of one config count: one per seed, and in cross-validation one per seed and fold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from dermaexp.core.text import counted
from dermaexp.runs.collect import Run


def counted_runs(runs: Iterable[Run]) -> tuple[tuple[tuple[Run, ...], ...], tuple[str, ...]]:
    """The runs of each fold that count, in the same order of seeds, and notes on the others.

    The official split counts as one fold, None. A seed counts if it has every fold that any seed
    has. If no seed does, the run with the lowest seed counts in each fold.
    """
    ordered = sorted(runs, key=_finished)
    latest = {(run.fold, run.record["seed"]): run for run in ordered}
    seeds: dict[int | None, set[int]] = {}
    for fold, seed in latest:
        seeds.setdefault(fold, set()).add(seed)
    folds = sorted(seeds, key=lambda fold: -1 if fold is None else fold)
    complete = sorted(set.intersection(*seeds.values()))
    notes = _duplicates(ordered)
    if complete:
        by_fold = tuple(tuple(latest[fold, seed] for seed in complete) for fold in folds)
        for seed in sorted(set.union(*seeds.values()) - set(complete)):
            lacking = [fold for fold in folds if seed not in seeds[fold]]
            notes.append(f"seed {seed} does not count: it lacks {_folds_text(lacking)}")
    else:
        by_fold = tuple((latest[fold, min(seeds[fold])],) for fold in folds)
        chosen = seeds_text([run for (run,) in by_fold])
        notes.append(f"no seed has all folds: the lowest of each fold counts, {chosen}")
    return by_fold, tuple(notes + _missing(ordered[0], folds))


def seeds_text(runs: Sequence[Run]) -> str:
    """Such as "seeds 0, 1", in cross-validation "seed 0 on folds 1, 2 and seed 1 on fold 0"."""
    folds: dict[int, list[int | None]] = {}
    for run in runs:
        folds.setdefault(run.record["seed"], []).append(run.fold)
    if runs[0].fold is None:
        return counted("seed", list(folds))
    return " and ".join(f"seed {seed} on {_folds_text(own)}" for seed, own in folds.items())


def _folds_text(folds: Iterable[int | None]) -> str:
    return counted("fold", [fold for fold in folds if fold is not None])


def _finished(run: Run) -> datetime:
    """When the run finished; the earliest possible time if that is not known."""
    try:
        return datetime.fromisoformat(run.record.get("finished") or "").astimezone(UTC)
    except (ValueError, OverflowError):
        return datetime.min.replace(tzinfo=UTC)


def _duplicates(runs: Iterable[Run]) -> list[str]:
    counts = Counter((run.record["seed"], run.fold) for run in runs)
    return [
        f"seed {seed} was run {count} times{'' if fold is None else f' on fold {fold}'}: "
        "the latest counts"
        for (seed, fold), count in sorted(counts.items())
        if count > 1
    ]


def _missing(run: Run, folds: Sequence[int | None]) -> list[str]:
    if run.fold is None or len(folds) == run.split["folds"]:
        return []
    return [f"{_folds_text(folds)} of {run.split['folds']}: incomplete"]
