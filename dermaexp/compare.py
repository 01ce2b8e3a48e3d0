"""Many run directories, one comparison: leaderboard.csv, leaderboard.md and everyone's curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dermaexp import plots
from dermaexp.console import cell_text, print_table
from dermaexp.errors import UserError
from dermaexp.results import RunDirectory, write_bytes, write_csv

METRICS = ("accuracy", "balanced_accuracy", "macro_auroc", "macro_f1")
SHOWN = {  # what the terminal has room for
    "val_macro_auroc": "val AUROC",
    "test_accuracy": "test accuracy",
    "test_balanced_accuracy": "test balanced",
    "test_macro_auroc": "test AUROC",
    "test_macro_f1": "test F1",
    "majority_accuracy": "majority accuracy",
    "status": "status",
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
        """Val macro AUROC; below every real one where there is none."""
        score = self.metrics["val"]["macro_auroc"] if self.finished else None
        return -1.0 if score is None else score

    @property
    def overrides(self) -> dict[str, str]:
        pairs = (override.partition("=") for override in self.run.get("overrides", []))
        return {key: value for key, _, value in pairs}


def compare(sweep: Path) -> int:
    """Compare the jobs below `sweep`, best val macro AUROC first; returns how many did not finish.

    Writes leaderboard.csv, leaderboard.md and figures/learning_curves.png there, prints the table.
    """
    jobs = sorted(read_jobs(sweep), key=lambda job: -job.score)
    if not jobs:
        raise UserError(f"{sweep} holds no runs: expected run directories in it")
    varied = varied_keys(jobs)
    rows = [leaderboard_row(rank, job, varied) for rank, job in enumerate(jobs, start=1)]
    title = " and ".join(sorted({row["data"] for row in rows if row["data"]}))
    write_csv(sweep / "leaderboard.csv", list(rows[0]), rows)
    write_bytes(sweep / "leaderboard.md", _markdown(title, rows).encode())
    histories = {
        _label(job, varied): job.directory.read_history()
        for job in jobs
        if job.finished and job.directory.has_history()
    }
    if histories:
        figure = plots.job_curves(histories, title=f"All jobs on {title}")
        RunDirectory(sweep).write_figure("learning_curves", figure)
    leaves = [key.rpartition(".")[2] for key in varied]
    headings = leaves if len(set(leaves)) == len(leaves) else varied
    shown = {"rank": "", **dict(zip(varied, headings, strict=True)), **SHOWN}
    print_table(f"Leaderboard on {title}", shown, rows)
    return sum(not job.finished for job in jobs)


def read_jobs(sweep: Path) -> list[Job]:
    """The runs in the folders of `sweep`, in the order of their names."""
    jobs = []
    for directory in map(RunDirectory, sorted(sweep.iterdir())):
        if directory.has_run():
            run = directory.read_run()
            metrics = directory.read_metrics() if run["status"] == "finished" else {}
            jobs.append(Job(directory, run, metrics))
    return jobs


def varied_keys(jobs: Sequence[Job]) -> list[str]:
    """The keys whose overrides are not the same in all jobs, in the order of the command."""
    keys = dict.fromkeys(key for job in jobs for key in job.overrides)
    return [key for key in keys if len({job.overrides.get(key) for job in jobs}) > 1]


def leaderboard_row(rank: int, job: Job, varied: Sequence[str]) -> dict[str, Any]:
    """One job's row; the numbers of a job that did not finish are None."""
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


def _label(job: Job, varied: Sequence[str]) -> str:
    pairs = [f"{key}={job.overrides.get(key)}" for key in varied]
    return " ".join(pairs) or job.directory.path.name


def _markdown(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns)]
    lines += [[cell_text(row[column]).replace("|", "\\|") for column in columns] for row in rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    heading = f"# Leaderboard on {title}"
    return f"{heading}\n\nBest first, by val macro AUROC.\n\n{table}\n"
