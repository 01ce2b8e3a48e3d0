"""Writes a comparison as one self-contained page, comparison.html, and its figures."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dermaexp.compare import tables
from dermaexp.compare.comparison import Comparison, Table
from dermaexp.compare.figures import CaptionedFigure, captioned_figures, search_figures
from dermaexp.compare.resampled import TESTED
from dermaexp.compare.run_groups import RunGroup
from dermaexp.compare.search import (
    Search,
    pruned_table,
    summary,
    why_no_history,
    why_no_importances,
)
from dermaexp.core.grid import Cell, Grid
from dermaexp.core.overrides import command
from dermaexp.core.shortened import short_command, short_path, shortened
from dermaexp.core.text import counted, names_and_values
from dermaexp.core.version import __version__
from dermaexp.metrics.names import METRICS, headlines
from dermaexp.metrics.significance import LEVEL
from dermaexp.report import html
from dermaexp.report.style import png_bytes
from dermaexp.runs.collect import Run

NAME = "comparison.html"
SHOWN_PAIRS = 3  # the others unfold


def not_shown(table: Table) -> str:
    """The figure in whose place the page has a choice of groups."""
    return "" if table.task == "multi-label" else "confusion_matrices"


def files(comparison: Comparison, folder: Path) -> dict[str, bytes]:
    """The contents of comparison.html and of the figures, by path in `folder`.

    The page embeds its figures and links to the runs relative to `folder`.
    """
    figures: dict[str, bytes] = {}
    contents = []
    for number, table in enumerate(comparison.tables, 1):
        suffix = "" if number == 1 else f"_{number}"
        shown, pngs = _plotted(_figures(table, comparison, folder), suffix, not_shown(table))
        figures |= pngs
        contents.append(shortened(_table(table, comparison), folder) | {"figures": shown})
    content = shortened(_content(comparison, folder), folder) | {"tables": contents}
    if comparison.search:
        content["search"]["figures"], pngs = _plotted(search_figures(comparison.search))
        figures |= pngs
    page = html.render("comparison.html.j2", content)
    return {NAME: page.encode(errors="replace"), **figures}


def _figures(table: Table, comparison: Comparison, folder: Path) -> Iterator[CaptionedFigure]:
    """The figures of a table, with short paths in its labels."""
    groups = [
        replace(group, label=shortened(group.label, folder), varied=shortened(group.varied, folder))
        for group in table.groups
    ]
    intervals = {group.label: group.accuracy_interval() for group in groups}
    return captioned_figures(replace(table, groups=tuple(groups)), intervals, comparison.varied)


def _plotted(
    figures: Iterable[CaptionedFigure], suffix: str = "", without: str = ""
) -> tuple[dict[str, dict[str, str]], dict[str, bytes]]:
    """What the page shows of each figure by its name, and the PNGs by path.

    The page links to the figure `without` only.
    """
    shown, pngs = {}, {}
    for plotted in figures:
        path = f"figures/{plotted.name}{suffix}.png"
        pngs[path] = png_bytes(plotted.figure)
        shown[plotted.name] = {"path": path, "caption": plotted.caption}
        if plotted.name != without:
            shown[plotted.name]["source"] = html.data_uri(pngs[path])
    return shown, pngs


def _content(comparison: Comparison, folder: Path) -> dict[str, Any]:
    """What comparison.html.j2 shows besides the tables."""
    runs = [*comparison.runs, *comparison.left_out]
    return {
        "version": __version__,
        "title": _title(comparison),
        "synthetic": any(table.synthetic for table in comparison.tables),
        "all_synthetic": all(table.synthetic for table in comparison.tables),
        "warning": comparison.warning,
        "search": comparison.search and _search(comparison.search, comparison.folders[0]),
        "runs": _runs(comparison, folder),
        "total": len(runs),
        "left_out": [(_link(run, folder), run.status, run.reason) for run in comparison.left_out],
        "unfinished": sum(run.status != "pruned" for run in comparison.left_out),
        "left_out_title": tables.LEFT_OUT,
        "damaged": [(_link(run, folder), run.damage) for run in comparison.damaged],
        "damaged_title": tables.DAMAGED,
        "commands": [
            short_command(command, folder)
            for command in _distinct(run.record.get("command") for run in runs)
        ],
        "regenerate": _regenerate(comparison, folder),
        "provenance": _provenance(comparison.runs),
        "files": ["leaderboard.csv", "leaderboard.md", "runs.csv"],
    }


def _search(search: Search, folder: Path) -> dict[str, Any]:
    """What comparison.html.j2 shows of the search in `folder` besides the figures."""
    return {
        "summary": summary(search, folder),
        "pruned": pruned_table(search, folder),
        "resume": command("resume=RUN_DIR"),
        "why_no_history": why_no_history(search),
        "why_no_importances": why_no_importances(search),
    }


def _title(comparison: Comparison) -> str:
    names = {run.name for run in comparison.runs}
    tables = comparison.tables
    data = " and ".join(_distinct(table.data for table in tables))
    if len(tables) == 1:
        data = tables[0].subject
    title = f"{names.pop()}: comparison" if len(names) == 1 else "Comparison"
    return f"{title} on {data}" if data else title


def _table(table: Table, comparison: Comparison) -> dict[str, Any]:
    """What comparison.html.j2 shows of a table besides the figures."""
    pairs = [[one.words for one in pair.findings.values()] for pair in table.evidence.pairs]
    return {
        "title": table.title,
        "best": table.groups[0].label,
        "summary": _summary(table),
        "findings": pairs[:SHOWN_PAIRS],
        "more_findings": pairs[SHOWN_PAIRS:],
        "method": table.evidence.method,
        "unit": table.unit,
        "repeated_over": table.repeated_over,
        "ranked": _ranked(table, comparison),
        "confusions": _confusions(table) if not_shown(table) else None,
        "notes": table.notes,
    }


def _confusions(table: Table) -> dict[str, Any]:
    """What the page's script shows of each group's confusion matrix."""
    return {
        "classes": table.classes,
        "groups": [
            {
                "label": group.label,
                "seeds": group.runs_per_fold,
                "counts": group.confusion.tolist(),
            }
            for group in table.groups
        ],
    }


def _summary(table: Table) -> list[str]:
    """Describes the best run group."""
    best = table.groups[0]
    score = "val", "macro_auroc"
    val = tables.score_text(best.mean(*score), best.sd(*score), 3)
    if not val:
        lines = [f"is listed first ({_mean_of(best)}): val macro AUROC is undefined for all."]
    elif len(table.groups) == 1:
        lines = [f"is the only run group. Its val macro AUROC is {val} ({_mean_of(best)})."]
    else:
        lines = [
            f"is the best of {len(table.groups)} run groups by val macro AUROC: {val} "
            f"({_mean_of(best)})."
        ]
    accuracy = best.mean("test", "accuracy")
    assert accuracy is not None  # only AUROC may be undefined
    images = f"{table.images:,} test images"
    on = f"labels of the {images}" if table.task == "multi-label" else images
    text = f"Its accuracy on the {on} is {html.percent(accuracy)}"
    low, high = best.accuracy_interval()
    if low == low:
        text += f", with a 95\N{NO-BREAK SPACE}% interval from {html.percent(low)} to "
        text += f"{html.percent(high)}."
    else:
        text += "; there is no interval, as not every run left its predictions."
    beside = [one.beside(accuracy, best.p_against(one), "it") for one in table.baselines]
    lines += [" ".join([text, *beside])]
    baseline = table.baselines[0].scores
    scores = [
        f"{METRICS[key].label} {html.fixed(best.mean('test', key), 3) or 'undefined'} "
        f"(baseline {baseline[key]:.3f})"
        for key in headlines(table.task)
        if key != "accuracy" and key in baseline
    ]
    return [*lines, f"Also on test: {', '.join(scores)}.", *_verdicts(table)]


def _verdicts(table: Table) -> list[str]:
    """Counts the run groups that the best one beats in each metric, and those that beat it."""
    pairs = table.evidence.pairs
    if not pairs:
        return []
    parts, rest = [], False
    for metric in TESTED:
        found = [pair.findings[metric] for pair in pairs if metric in pair.findings]
        shown = [one.difference.estimate > 0 for one in found if one.p < LEVEL]
        text = f"{shown.count(True)} of {len(found)} in {METRICS[metric].label}"
        beaten = shown.count(False)
        parts.append(text + (f" (and is beaten by {beaten})" if beaten else ""))
        rest = rest or len(shown) < len(found)
    return [
        f"Of the other run groups it beats {', '.join(parts[:-1])} and {parts[-1]}, with p < "
        f"{LEVEL:g} after correction for their number."
        + (" No difference is shown for the rest." if rest else "")
    ]


def _ranked(table: Table, comparison: Comparison) -> Grid:
    """The run groups by rank: values of the varied keys, counts, scores and p."""
    varied = comparison.varied or {"name": "name"}
    columns = {"rank": "rank", **varied, "n": "seeds"}
    tested = [f"p, {METRICS[metric].label}" for metric in TESTED]
    columns |= {key: key for key in (*table.counts[1:], *tables.shown_scores(table.task), *tested)}
    baseline = "" if table.baselines[1:] else "majority baseline"
    return Grid.of(columns, tables.shown_rows(table, varied, 3, " ± ", baseline), texts=varied)


def _runs(comparison: Comparison, folder: Path) -> Grid:
    """One row per run: group by group, then those left out."""
    varied = comparison.varied or {"name": "name"}
    columns = {key: key for key in ("rank", "seed", *(["fold"] if comparison.has_folds else []))}
    columns |= varied | ({"data": "data"} if len(comparison.tables) > 1 else {})
    scores = {"val accuracy": ("val", "accuracy")}
    for task in comparison.tasks or ["multi-class"]:
        scores |= tables.shown_scores(task)
    columns |= {"_".join(score): heading for heading, score in scores.items()}
    columns |= {"seconds": "seconds", "status": "status", "run": "run"}
    runs = [*comparison.runs, *comparison.left_out]
    rows = tables.run_rows(comparison, folder)
    for run, row in zip(runs, rows, strict=True):
        row["seconds"] = f"{run.seconds:,.1f}" if run.compared else ""
        row["run"] = _link(run, folder)
    return Grid.of(columns, rows, texts=[*varied, "data", "status", "run"])


def _link(run: Run, folder: Path) -> Cell:
    """The run's folder, with the address of its page, or of the folder if it has none."""
    path = Path(os.path.relpath(run.directory.path, folder)).as_posix()
    report = run.directory.report
    address = f"{path}/{report.name}" if report.is_file() else f"{path}/"
    return Cell(short_path(run.directory.path, folder), address=address)


def _regenerate(comparison: Comparison, folder: Path) -> str:
    """The command that regenerates the page, run in the page's folder."""
    folders = [short_path(path, folder) for path in comparison.folders]
    force = ["--force"] if len(comparison.tables) > 1 else []
    return shlex.join(["python", "-m", "dermaexp.compare", *folders, *force, "--output", "."])


def _provenance(runs: Sequence[Run]) -> dict[str, str]:
    """Maps labels to the distinct values of all runs in tables."""
    records = [run.record for run in runs]
    values = {
        "Data": (record["data"]["name"] for record in records),
        "Data fingerprint": (run.source_fingerprint for run in runs),
        "Test fingerprint": (record["data"]["test_fingerprint"] for record in records),
        "Git commit": (record["git_commit"] for record in records),
        "Code digest": (record["code_digest"] for record in records),
        "Device": (record["device"]["name"] for record in records),
        "Platform": (record["platform"] for record in records),
        "Versions": (names_and_values(record["versions"]) for record in records),
    }
    return {label: "; ".join(_distinct(found)) for label, found in values.items()}


def _distinct(values: Iterable[str | None]) -> list[str]:
    return list(dict.fromkeys(value for value in values if value))


def _mean_of(group: RunGroup) -> str:
    """What the group's scores are means of."""
    seeds = counted("seed", group.seeds)
    folds = counted("fold", group.folds) if group.folds else ""
    if folds and group.seeds[1:]:
        seeds = f"of the means over {seeds}"
    parts = [part for part in (folds, seeds) if part]
    spread = len(group.scores("val", "macro_auroc")) > 1
    return ("mean ± standard deviation over " if spread else "") + ", ".join(parts)
