"""Folders of sweeps with many runs: only the files that are needed are read."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import write_run
from omegaconf import OmegaConf

from dermaexp.core.errors import UserError
from dermaexp.launch.folders import check_job_folders, job_folder
from dermaexp.runs.directory import RunDirectory


def test_a_jobs_own_folder_is_found_without_reading_those_of_the_same_cut_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = OmegaConf.create({"seed": 1, "dataset": {}, "hydra": {"sweep": {"dir": str(tmp_path)}}})
    overrides = "a_long_key=1," * 20
    name = job_folder(overrides, _root_=root)
    write_run(tmp_path / f"{name[:-8]}{'0' * 8}")
    read = []
    monkeypatch.setattr(RunDirectory, "read_run", lambda run: read.append(run) or {})
    assert job_folder(overrides, _root_=root) == name
    assert len(read) == 1, "an earlier version may have named the job's run so"
    (tmp_path / name).mkdir()
    assert job_folder(overrides, _root_=root) == name
    assert len(read) == 1


def test_a_folder_with_a_run_is_ours_whatever_its_yaml(tmp_path: Path, monkeypatch) -> None:
    write_run(tmp_path / "a")
    monkeypatch.setattr(OmegaConf, "load", None)  # slow: it is called for other folders only
    check_job_folders(tmp_path)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "metrics.json").touch()
    with pytest.raises(UserError, match=r"b holds metrics\.json but no run\.json of dermaexp"):
        check_job_folders(tmp_path)
