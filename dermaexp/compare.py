"""Many run directories, one comparison: leaderboard.csv, leaderboard.md and everyone's curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dermaexp import plots
from dermaexp.console import cell_text, print_table
from dermaexp.errors import UserError
from dermaexp.results import RunDirectory, write_bytes, write_csv, write_figure

METRICS = ("accuracy", "balanced_accuracy", "macro_auroc", "macro_f1")
UNFINISHED = "Did not finish"
SHOWN = {  # what the terminal has room for
    "val_macro_auroc": "val AUROC",
    "test_accuracy": "test accuracy",
    "test_balanced_accuracy": "test balanced",
    "test_macro_auroc": "test AUROC",
    "test_macro_f1": "test F1",
    "majority_accuracy": "majority accuracy",
}


@dataclass(frozen=True)
class Job:
    """One run of a sweep; `metrics` is empty unless it finished."""

    directory: RunDirectory
    run: dict[str, Any]
    metrics: dict[str, Any]

    @property
    def finished(self) -> bool:
        return self.run["status"] == "finished"

    @property
    def score(self) -> float:
        """Val macro AUROC; below every real one where it is undefined."""
        score = self.metrics["val"]["macro_auroc"]
        return -1.0 if score is None else score

    @property
    def overrides(self) -> dict[str, str]:
        pairs = (override.partition("=") for override in self.run.get("overrides", []))
        return {key: value for key, _, value in pairs}


def compare(sweep: Path) -> int:
    """Compare the jobs below `sweep`, best val macro AUROC first; returns how many did not finish.

    Jobs on other data stand in another table: their numbers have no common order. Writes
    leaderboard.csv, leaderboard.md and figures/learning_curves.png there, prints the tables.
    """
    jobs = read_jobs(sweep)
    if not jobs:
        raise UserError(f"{sweep} holds no runs: expected run directories in it")
    varied = varied_keys(jobs)
    tables = ranked_tables(jobs, varied)
    rows = [row for table in tables.values() for row in table]
    write_csv(sweep / "leaderboard.csv", list(rows[0]), rows)
    write_bytes(sweep / "leaderboard.md", _markdown(tables).encode())
    _draw_curves(sweep, jobs, varied)
    leaves = [key.rpartition(".")[2] for key in varied]
    headings = leaves if len(set(leaves)) == len(leaves) else varied
    names = dict(zip(varied, headings, strict=True))
    for title, table in tables.items():
        columns = SHOWN if title != UNFINISHED else {"status": "status", "error": "reason"}
        print_table(title, {"rank": "", **names, **columns}, table)
    return sum(not job.finished for job in jobs)


def read_jobs(sweep: Path) -> list[Job]:
    """The jobs in the folders of `sweep`, in the order of their names."""
    jobs = []
    for directory in map(RunDirectory, sorted(sweep.iterdir())):
        if directory.has_run():
            run = directory.read_run()
            metrics = directory.read_metrics() if run["status"] == "finished" else {}
            jobs.append(Job(directory, run, metrics))
        elif directory.was_begun():
            jobs.append(Job(directory, {"status": "failed", "error": "it left no run.json"}, {}))
    return jobs


def varied_keys(jobs: Sequence[Job]) -> list[str]:
    """The keys whose overrides are not the same in all jobs, in the order of the command."""
    keys = dict.fromkeys(key for job in jobs for key in job.overrides)
    return [key for key in keys if len({job.overrides.get(key) for job in jobs}) > 1]


def best_first(jobs: Sequence[Job]) -> list[Job]:
    """The finished jobs by val macro AUROC; equals stay in the order of their names."""
    return sorted((job for job in jobs if job.finished), key=lambda job: -job.score)


def ranked_tables(jobs: Sequence[Job], varied: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Title -> rows, the best first: a table for each data set, one for what did not finish."""
    by_data: dict[str, list[Job]] = {}
    for job in best_first(jobs):
        by_data.setdefault(job.run["data"]["fingerprint"], []).append(job)
    tables = {}
    for same_data in by_data.values():
        title = f"Leaderboard on {same_data[0].run['data']['name']}"
        if title in tables:  # other content under the same name
            title += f" {same_data[0].run['data']['fingerprint'][:8]}"
        tables[title] = [leaderboard_row(n, job, varied) for n, job in enumerate(same_data, 1)]
    unfinished = [leaderboard_row(None, job, varied) for job in jobs if not job.finished]
    return tables | ({UNFINISHED: unfinished} if unfinished else {})


def leaderboard_row(rank: int | None, job: Job, varied: Sequence[str]) -> dict[str, Any]:
    """One job's row; rank and numbers of a job that did not finish are None."""
    test = job.metrics.get("test", {})
    return {
        "rank": rank,
        **{key: job.overrides.get(key) for key in varied},
        "val_macro_auroc": job.metrics.get("val", {}).get("macro_auroc"),
        **{f"test_{name}": test.get(name) for name in METRICS},
        "majority_accuracy": test.get("majority_accuracy"),
        "best_epoch": job.metrics.get("best_epoch"),
        "seconds": job.metrics.get("seconds", {}).get("total"),
        "status": job.run["status"],
        "error": job.run.get("error"),
        "data": job.run.get("data", {}).get("name"),
        "job": job.directory.path.name,
    }


def _draw_curves(sweep: Path, jobs: Sequence[Job], varied: Sequence[str]) -> None:
    drawn = [job for job in best_first(jobs) if job.directory.has_history()]
    if not drawn:
        return
    data = sorted({job.run["data"]["name"] for job in drawn})
    labels = [" ".join(f"{key}={job.overrides.get(key)}" for key in varied) for job in drawn]
    if len(data) > 1:
        labels = [
            f"{label} on {job.run['data']['name']}"
            for label, job in zip(labels, drawn, strict=True)
        ]
    if len(set(labels)) < len(labels):
        labels = [job.directory.path.name for job in drawn]
    histories = [job.directory.read_history() for job in drawn]
    title = f"All jobs on {' and '.join(data)}"
    figure = plots.job_curves(dict(zip(labels, histories, strict=True)), title=title)
    write_figure(sweep, "learning_curves", figure)


def _markdown(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    sections = ["# Leaderboard\n\nBest first, by val macro AUROC.\n"]
    for title, rows in tables.items():
        columns = list(rows[0])
        lines = [columns, ["---"] * len(columns)]
        lines += [[_markdown_cell(row[column]) for column in columns] for row in rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        sections.append(f"## {title}\n\n{table}\n")
    return "\n".join(sections)


def _markdown_cell(value: object) -> str:
    return cell_text(value).replace("|", "\\|")
