"""Which runs of one configuration count: one for every seed, in cross-validation on every fold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from dermaexp.core.text import counted
from dermaexp.runs.collect import Run


def counting_runs(runs: Iterable[Run]) -> tuple[tuple[tuple[Run, ...], ...], tuple[str, ...]]:
    """The runs of each fold that count, one a seed in the same order, and notes on the others.

    The official split counts as a single fold. A seed counts where it has all folds that any seed
    has; where none does, one run of each fold counts, that of its lowest seed.
    """
    ordered = sorted(runs, key=_finished)
    latest = {(run.fold, run.record["seed"]): run for run in ordered}
    seeds: dict[int | None, set[int]] = {}
    for fold, seed in latest:
        seeds.setdefault(fold, set()).add(seed)
    folds = list(seeds) if None in seeds else sorted(seeds)
    complete = sorted(set.intersection(*seeds.values()))
    notes = _duplicates(ordered)
    if complete:
        by_fold = tuple(tuple(latest[fold, seed] for seed in complete) for fold in folds)
        for seed in sorted(set.union(*seeds.values()) - set(complete)):
            lacking = [fold for fold in folds if seed not in seeds[fold]]
            notes.append(f"seed {seed} does not count: it lacks {counted('fold', lacking)}")
    else:
        by_fold = tuple((latest[fold, min(seeds[fold])],) for fold in folds)
        chosen = told([run for (run,) in by_fold])
        notes.append(f"no seed has all folds: the lowest of each fold counts, {chosen}")
    return by_fold, tuple(notes + _missing(ordered[0], folds))


def told(runs: Sequence[Run]) -> str:
    """Such as "seeds 0, 1", in cross-validation "seed 0 on folds 1, 2 and seed 1 on fold 0"."""
    folds: dict[int, list[int | None]] = {}
    for run in runs:
        folds.setdefault(run.record["seed"], []).append(run.fold)
    if runs[0].fold is None:
        return counted("seed", list(folds))
    return " and ".join(f"seed {seed} on {counted('fold', own)}" for seed, own in folds.items())


def _finished(run: Run) -> datetime:
    """The instant at which it finished; the earliest of all where that is not known."""
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
    return [f"{counted('fold', folds)} of {run.split['folds']}: incomplete"]
