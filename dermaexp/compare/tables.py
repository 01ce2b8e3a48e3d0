"""A comparison as tables: leaderboard.csv, runs.csv, leaderboard.md and in the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dermaexp.compare.comparison import SEEDS, Comparison, Table
from dermaexp.compare.run_groups import SPLITS, RunGroup
from dermaexp.compare.significance import TESTED
from dermaexp.compare.varied_keys import config_values, value_text
from dermaexp.core.console import console, print_table
from dermaexp.core.files import csv_bytes
from dermaexp.core.shortened import short_path, shortened
from dermaexp.core.text import cell_text
from dermaexp.metrics.names import HEADLINES, METRICS
from dermaexp.runs.collect import Run

LEFT_OUT = "Did not finish or cannot be compared"
DAMAGED = "Compared without some of their files"
SHOWN = {  # in the terminal and on the page: heading -> split and metric
    f"{split} {METRICS[metric].short}": (split, metric)
    for split, metric in (("val", "macro_auroc"), *(("test", metric) for metric in HEADLINES))
}
SHOWN_PAIRS = 4  # in the terminal
SCORES = [f"{split}_{metric}" for split in SPLITS for metric in HEADLINES]


def files(comparison: Comparison, folder: Path) -> dict[str, bytes]:
    """The contents of leaderboard.csv, runs.csv and leaderboard.md in `folder`."""
    varied = list(comparison.varied)
    with_sd = [column for score in SCORES for column in (score, f"{score}_sd")]
    tested = [f"p_{metric}" for metric in TESTED]
    counts = ["n", "seeds", *(["folds"] if comparison.has_folds else [])]
    groups = ["rank", "name", *varied, *counts, *with_sd, *tested, "best_epoch", "seconds"]
    groups += ["data", "test_images", "notes"]
    places = ["seed", *(["fold"] if comparison.has_folds else [])]
    runs = ["rank", "name", *places, *varied, *SCORES, "best_epoch", "seconds"]
    runs += ["status", "error", "data", "folder"]
    ranked = [row for table in comparison.tables for row in _group_rows(table)]
    markdown = shortened(_markdown(comparison), folder)
    return {
        "leaderboard.csv": csv_bytes(groups, shortened(ranked, folder)),
        "runs.csv": csv_bytes(runs, shortened(_run_rows(comparison, folder), folder)),
        "leaderboard.md": markdown.encode(errors="replace"),
    }


def show(comparison: Comparison) -> None:
    """Prints the tables with their findings, and the runs left out."""
    names = comparison.varied or {"name": "name"}
    for table in comparison.tables:
        rows = [
            {
                "rank": rank,
                "n": group.runs_per_fold,
                **varied_cells(group),
                **shown_scores(group, "{:.3f}", "±"),
            }
            for rank, group in enumerate(table.groups, 1)
        ]
        for baseline in table.baselines:
            scores = {key: baseline.scores[metric] for key, (_, metric) in SHOWN.items()}
            cells = {key: f"{score:.3f}" for key, score in scores.items()} | {"val AUROC": None}
            rows.append({next(iter(names)): "majority", **cells})
        columns = {"rank": "", **names, "n": "seeds", **{key: key for key in SHOWN}}
        print_table(table.title, columns, [dict.fromkeys(columns) | row for row in rows])
        for line in _lines_below(table):
            console.print(line, markup=False)
    if comparison.warning:
        console.print(comparison.warning, markup=False)
    for run in comparison.damaged:
        console.print(f"note: {run.directory.path.name}: {run.damage}", markup=False)
    if comparison.left_out:
        columns = {"status": "status", "error": "reason", "folder": "folder"}
        print_table(LEFT_OUT, columns, [_left_out_row(run) for run in comparison.left_out])


def _group_rows(table: Table) -> list[dict[str, Any]]:
    """The table's rows of leaderboard.csv, the baselines last."""
    found = {pair.other.label: pair.findings for pair in table.evidence.pairs}
    numbers = " ".join(map(str, table.groups[0].folds))
    folds = {"folds": numbers} if numbers else {}
    rows = []
    for rank, group in enumerate(table.groups, 1):
        row = {"rank": rank, "name": group.runs[0].name, **varied_cells(group)}
        row |= {"n": group.runs_per_fold, "seeds": " ".join(map(str, group.seeds)), **folds}
        for split in SPLITS:
            for metric in HEADLINES:
                row[f"{split}_{metric}"] = group.mean(split, metric)
                row[f"{split}_{metric}_sd"] = group.sd(split, metric)
        row |= {f"p_{name}": one.p for name, one in found.get(group.label, {}).items()}
        row |= {"best_epoch": group.best_epoch, "seconds": group.seconds, "data": group.data}
        rows.append(row | {"test_images": table.images, "notes": "; ".join(group.notes)})
    for baseline in table.baselines:
        scores = {f"test_{metric}": score for metric, score in baseline.scores.items()}
        row = {"name": f"majority baseline: {baseline.label}", **folds, **scores}
        rows.append(row | {"data": table.data, "test_images": table.images})
    return rows


def _run_rows(comparison: Comparison, folder: Path) -> list[dict[str, Any]]:
    """The rows of runs.csv: group by group, then the runs left out."""
    rows = []
    for table in comparison.tables:
        for rank, group in enumerate(table.groups, 1):
            for run in group.runs:
                row = {"rank": rank, **run_cells(run, comparison.varied, folder)}
                row |= {f"{s}_{m}": run.score(s, m) for s in SPLITS for m in HEADLINES}
                row |= {"best_epoch": run.best_epoch, "seconds": run.seconds}
                rows.append(row)
    rows += [run_cells(run, comparison.varied, folder) for run in comparison.left_out]
    return rows


def run_cells(run: Run, varied: Iterable[str], folder: Path) -> dict[str, Any]:
    """What is known of any run, even if it failed before its config was recorded."""
    is_known = {"config", "choices", "overrides"} <= set(run.record)
    values = config_values(run) if is_known else {}
    return {
        "name": run.name,
        "seed": run.record.get("seed"),
        **({} if run.fold is None else {"fold": run.fold}),
        **{key: value_text(values[key]) for key in varied if key in values},
        "status": run.status,
        "error": run.reason or run.damage or None,
        "data": run.data.get("name"),
        "folder": short_path(run.directory.path, folder),
    }


def _left_out_row(run: Run) -> dict[str, Any]:
    return {"status": run.status, "error": run.reason, "folder": run.directory.path.name}


def varied_cells(group: RunGroup) -> dict[str, str]:
    """The values of the keys that vary, or else the name."""
    cells = {key: value_text(value) for key, value in group.varied.items()}
    return cells or {"name": group.label}


def count_cells(group: RunGroup) -> dict[str, int | str]:
    """The number of seeds, in cross-validation also of folds, such as "5 of 5"."""
    cells: dict[str, int | str] = {"seeds": group.runs_per_fold}
    if group.folds:
        cells["folds"] = f"{len(group.folds)} of {group.runs[0].split['folds']}"
    return cells


def shown_scores(group: RunGroup, number: str, sign: str) -> dict[str, str]:
    """Such as "0.691 ± 0.005", without the deviation for a single run."""
    cells = {}
    for key, score in SHOWN.items():
        parts = [part for part in (group.mean(*score), group.sd(*score)) if part is not None]
        cells[key] = sign.join(number.format(part) for part in parts) or "undefined"
    return cells


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
        rows = [list(_left_out_row(run).values()) for run in comparison.left_out]
        sections += [f"## {LEFT_OUT}", _markdown_table(["status", "reason", "folder"], rows)]
    return "\n\n".join(sections) + "\n"


def _markdown_sections(table: Table, names: Sequence[str]) -> list[str]:
    """A table with its findings and notes."""
    rows: list[list[object]] = []
    for rank, group in enumerate(table.groups, 1):
        cells = varied_cells(group)
        counts = count_cells(group) | {"seeds": ", ".join(map(str, group.seeds))}
        epoch = "" if group.best_epoch is None else f"{group.best_epoch:.1f}"
        scores = shown_scores(group, "{:.4f}", " ± ").values()
        row = [rank, *(cells.get(name) for name in names), *counts.values(), *scores]
        rows.append([*row, epoch, f"{group.seconds:.1f}"])
    counted = list(count_cells(table.groups[0]))
    for baseline in table.baselines:
        label = [f"majority baseline: {baseline.label}", *[None] * (len(names) - 1)]
        constant = [baseline.scores[metric] for split, metric in SHOWN.values() if split == "test"]
        rows.append([None, *label, *[None] * len(counted), None, *constant, None, None])
    heading = ["rank", *names, *counted, *SHOWN, "best epoch", "seconds"]
    sections = [f"## {_plain(table.title)}", _markdown_table(heading, rows)]
    for pair in table.evidence.pairs:
        sections.append(_markdown_list(one.words for one in pair.findings.values()))
    sections += [table.evidence.method] if table.evidence.pairs else []
    return [*sections, "Notes:", _markdown_list(table.notes)] if table.notes else sections


def _markdown_table(heading: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    cells = [[_plain(cell_text(value)).replace("|", "\\|") for value in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _markdown_list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {_plain(line)}" for line in lines)


def _plain(text: str) -> str:
    """The text in one line, with tags, entities and links of Markdown escaped."""
    text = re.sub(r"&(?=#?\w+;)", "&amp;", " ".join(text.splitlines()))
    return re.sub(r"<(?=[\w/!?])", "&lt;", text).replace("](", "]\\(")
