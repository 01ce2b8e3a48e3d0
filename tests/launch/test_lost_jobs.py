"""A job of submitit that leaves no result is reported, and the others still count."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from dermaexp.core.errors import UserError
from dermaexp.launch import lost_jobs, sweep
from dermaexp.launch.lost_jobs import losses_reported

submitit = pytest.importorskip("submitit")
VERSION = f"submitit {submitit.__version__}"


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list:
    """Jobs that have ended: two that left nothing, one that raised an error, one with a result."""
    monkeypatch.setattr(submitit.Job, "_results_timeout_s", 0)
    jobs = [submitit.LocalJob(tmp_path / "%j", name) for name in "1234"]
    for job in jobs:
        job.paths.folder.mkdir()
    for job, outcome in zip(jobs[2:], [("error", "Traceback"), ("success", 0.9)], strict=True):
        job.paths.result_pickle.write_bytes(pickle.dumps(outcome))
    return jobs


def test_a_lost_job_counts_as_failed(jobs: list, tmp_path: Path, capsys) -> None:
    results = submitit.Job.results
    with losses_reported(stop=False):
        *failed, score = (job.results()[0] for job in jobs)
    assert all(math.isnan(one.return_value) for one in failed), VERSION
    assert score == 0.9
    assert submitit.Job.results is results
    errors = capsys.readouterr().err.splitlines()
    assert [line.rpartition("see ")[2] for line in errors] == lost_jobs.lost
    assert lost_jobs.lost == [str(tmp_path / name / f"{name}_0_log.out") for name in "123"]
    with losses_reported(stop=False):
        assert not lost_jobs.lost, "of an earlier sweep"


def test_stop_on_failure_waits_for_no_other_job(jobs: list) -> None:
    with losses_reported(stop=True), pytest.raises(UserError, match=r"out; sweep\.stop_on"):
        jobs[0].results()
    assert submitit.Job._results_timeout_s == 0


def test_a_lost_job_makes_the_exit_code_1(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also one that never started, of which the comparison cannot know."""
    monkeypatch.setattr("dermaexp.compare.output.compare", lambda folder: 0)
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
    sweep.Sweep().on_multirun_end(config)
    monkeypatch.setattr(sweep, "lost", ["1_0_log.out"])
    with pytest.raises(SystemExit, match="1"):
        sweep.Sweep().on_multirun_end(config)


def test_submitit_waits_for_the_files_of_lost_jobs() -> None:
    assert submitit.Job._results_timeout_s > lost_jobs.LATER, VERSION
