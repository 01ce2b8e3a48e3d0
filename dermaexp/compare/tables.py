"""A comparison as tables: leaderboard.csv, runs.csv, leaderboard.md and in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from dermaexp.compare.comparison import SEEDS, Comparison, Table
from dermaexp.compare.resampled import TESTED
from dermaexp.compare.run_groups import SPLITS
from dermaexp.compare.varied_keys import config_values, value_text
from dermaexp.core.console import console, print_table
from dermaexp.core.grid import Grid
from dermaexp.core.shortened import short_path, shortened
from dermaexp.core.tasks import Task
from dermaexp.core.text import fixed, markdown_text
from dermaexp.metrics.names import HEADLINES, METRICS, headlines
from dermaexp.runs.collect import Run

LEFT_OUT = "Did not finish or cannot be compared"
DAMAGED = "Compared without some of their files"
SHOWN_PAIRS = 4  # in the terminal


def shown_scores(task: Task) -> dict[str, tuple[str, str]]:
    """The scores in the terminal and on the page: heading -> split and metric."""
    places = [("val", "macro_auroc"), *(("test", metric) for metric in headlines(task))]
    return {f"{split} {METRICS[metric].short}": (split, metric) for split, metric in places}


def _scores(tasks: Iterable[Task]) -> dict[str, tuple[str, str]]:
    """The scores in the CSV files: column -> split and metric."""
    metrics = dict.fromkeys((*HEADLINES, *(name for task in tasks for name in headlines(task))))
    return {f"{split}_{metric}": (split, metric) for split in SPLITS for metric in metrics}


def files(comparison: Comparison, folder: Path) -> dict[str, bytes]:
    """The contents of leaderboard.csv, runs.csv and leaderboard.md in `folder`."""
    ranked = [row for table in comparison.tables for row in group_rows(table)]
    groups, runs = group_columns(comparison), run_columns(comparison)
    markdown = shortened(_markdown(comparison), folder)
    return {
        "leaderboard.csv": Grid.of(groups, shortened(ranked, folder)).csv(),
        "runs.csv": Grid.of(runs, shortened(run_rows(comparison, folder), folder)).csv(),
        "leaderboard.md": markdown.encode(errors="replace"),
    }


def show(comparison: Comparison) -> None:
    """Prints the tables with their findings, and the runs left out."""
    names = comparison.varied or {"name": "name"}
    for table in comparison.tables:
        shown = {heading: heading for heading in shown_scores(table.task)}
        columns = {"rank": "", **names, "n": "seeds", **shown}
        print_table(table.title, Grid.of(columns, shown_rows(table, names, 3, "±", "majority")))
        for line in _lines_below(table):
            console.print(line, markup=False)
    if comparison.warning:
        console.print(comparison.warning, markup=False)
    for run in comparison.damaged:
        console.print(f"note: {run.directory.path.name}: {run.damage}", markup=False)
    if comparison.left_out:
        print_table(LEFT_OUT, _left_out(comparison))


def group_columns(comparison: Comparison) -> list[str]:
    """The columns of leaderboard.csv."""
    folds = ["folds"] if comparison.has_folds else []
    columns = ["rank", "name", *comparison.varied, "n", "seeds", *folds]
    columns += [column for score in _scores(comparison.tasks) for column in (score, f"{score}_sd")]
    columns += [f"p_{metric}" for metric in TESTED]
    return [*columns, "best_epoch", "seconds", "data", "test_images", "notes"]


def run_columns(comparison: Comparison) -> list[str]:
    """The columns of runs.csv."""
    folds = ["fold"] if comparison.has_folds else []
    columns = ["rank", "name", "seed", *folds, *comparison.varied, *_scores(comparison.tasks)]
    return [*columns, "best_epoch", "seconds", "status", "error", "data", "folder"]


def group_rows(table: Table, written: Callable[[Any], Any] = value_text) -> list[dict[str, Any]]:
    """The table's rows by column of leaderboard.csv, the baselines last.

    `written` gives the cells of varied values. "p, METRIC" holds each p as text, for tables that
    people read.
    """
    found = {pair.other.label: pair.findings for pair in table.evidence.pairs}
    folds = " ".join(map(str, table.groups[0].folds))
    data = {"folds": folds, "test_images": table.images}
    rows = []
    for rank, group in enumerate(table.groups, 1):
        varied = {key: written(value) for key, value in group.varied.items()}
        row: dict[str, Any] = {
            "rank": rank,
            "name": group.runs[0].name,
            **(varied or {"name": group.label}),
        }
        row |= {"n": group.runs_per_fold, "seeds": " ".join(map(str, group.seeds)), **data}
        for score, place in _scores([table.task]).items():
            row |= {score: group.mean(*place), f"{score}_sd": group.sd(*place)}
        for metric, finding in found.get(group.label, {}).items():
            text = finding.p_text.removeprefix("p ").removeprefix("= ")
            row |= {f"p_{metric}": finding.p, f"p, {METRICS[metric].label}": text}
        row |= {"best_epoch": group.best_epoch, "seconds": group.seconds, "data": group.data}
        rows.append(row | {"notes": "; ".join(group.notes)})
    for baseline in table.baselines:
        row = {f"test_{metric}": score for metric, score in baseline.scores.items()}
        row |= {"name": f"majority baseline: {baseline.label}", "data": table.data}
        rows.append(row | data)
    return rows


def shown_rows(
    table: Table, varied: Iterable[str], digits: int, sign: str, baseline: str = ""
) -> list[dict[str, Any]]:
    """`group_rows` for people: such as "0.691 ± 0.005" by heading in `shown_scores`.

    A baseline is named in the first of the `varied` columns, by its own name if none is given.
    """
    rows = []
    for row in group_rows(table):
        is_group = "rank" in row
        for heading, (split, metric) in shown_scores(table.task).items():
            mean, sd = (row.get(f"{split}_{metric}{of}") for of in ("", "_sd"))
            undefined = "undefined" if is_group else ""
            row[heading] = score_text(mean, sd, digits, sign) or undefined
        row["folds"] = table.folds if is_group else ""
        if not is_group:
            row[next(iter(varied))] = baseline or row["name"]
        rows.append(row)
    return rows


def score_text(mean: float | None, sd: float | None, digits: int, sign: str = " ± ") -> str:
    """Such as "0.691 ± 0.005", without what is None."""
    return sign.join(fixed(part, digits) for part in (mean, sd) if part is not None)


def run_rows(
    comparison: Comparison, folder: Path, written: Callable[[Any], Any] = value_text
) -> list[dict[str, Any]]:
    """The rows of runs.csv: group by group, then the runs left out.

    Holds what is known of any run, even if it failed before its config was recorded. `written`
    gives the cells of varied values.
    """
    ranks: list[tuple[int | None, Run]] = [
        (rank, run)
        for table in comparison.tables
        for rank, group in enumerate(table.groups, 1)
        for run in group.runs
    ]
    rows, scores = [], _scores(comparison.tasks)
    for rank, run in [*ranks, *((None, run) for run in comparison.left_out)]:
        is_known = {"config", "choices", "overrides"} <= set(run.record)
        values = config_values(run) if is_known else {}
        row: dict[str, Any] = {
            "rank": rank,
            "name": run.name,
            "seed": run.record.get("seed"),
            "fold": run.fold,
        }
        row |= {key: written(values[key]) for key in comparison.varied if key in values}
        if run.compared:
            row |= {score: run.score(*place) for score, place in scores.items()}
            row |= {"best_epoch": run.best_epoch, "seconds": run.seconds}
        row |= {"status": run.status, "error": run.reason or run.damage or None}
        row |= {"data": run.data.get("name"), "folder": short_path(run.directory.path, folder)}
        rows.append(row)
    return rows


def _left_out(comparison: Comparison) -> Grid:
    rows = [[run.status, run.reason, run.directory.path.name] for run in comparison.left_out]
    return Grid(["status", "reason", "folder"], rows, texts=range(3))


def _lines_below(table: Table) -> list[str]:
    """What the terminal prints below a table."""
    lines = [f"majority: {baseline.label}" for baseline in table.baselines]
    lines += [table.reading] if table.cross_validated else []
    pairs = table.evidence.pairs
    lines += [one.words for pair in pairs[:SHOWN_PAIRS] for one in pair.findings.values()]
    if len(pairs) > SHOWN_PAIRS:
        lines.append(f"… and {len(pairs) - SHOWN_PAIRS} more comparisons in leaderboard.md")
    lines += [table.evidence.method] if pairs else []
    return [*lines, *(f"note: {note}" for note in table.notes)]


def _markdown(comparison: Comparison) -> str:
    readings = dict.fromkeys(table.reading for table in comparison.tables)
    warning = [comparison.warning] if comparison.warning else []
    sections = ["# Leaderboard", *(readings or [SEEDS]), *warning]
    for table in comparison.tables:
        sections += _markdown_sections(table, list(comparison.varied) or ["name"])
    if comparison.damaged:
        lines = (f"{run.directory.path.name}: {run.damage}" for run in comparison.damaged)
        sections += [f"## {DAMAGED}", _markdown_list(lines)]
    if comparison.left_out:
        sections += [f"## {LEFT_OUT}", _left_out(comparison).markdown()]
    return "\n\n".join(sections) + "\n"


def _markdown_sections(table: Table, names: Sequence[str]) -> list[str]:
    """A table with its findings and notes."""
    headings = ["rank", *names, *table.counts, *shown_scores(table.task), "best epoch", "seconds"]
    rows = shown_rows(table, names, 4, " ± ")
    for row in rows:
        row["seeds"] = row.get("seeds", "").replace(" ", ", ")
        row["best epoch"] = fixed(row.get("best_epoch"), 1)
        row["seconds"] = fixed(row.get("seconds"), 1)
    sections = [f"## {markdown_text(table.title)}", Grid.of(headings, rows).markdown()]
    for pair in table.evidence.pairs:
        sections.append(_markdown_list(one.words for one in pair.findings.values()))
    sections += [table.evidence.method] if table.evidence.pairs else []
    return [*sections, "Notes:", _markdown_list(table.notes)] if table.notes else sections


def _markdown_list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {markdown_text(line)}" for line in lines)
