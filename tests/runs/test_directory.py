"""The run directory: whole files or none, true records, nothing lost."""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf

import dermaexp
from dermaexp.core import files
from dermaexp.core.errors import UserError
from dermaexp.core.files import read_json, write_bytes
from dermaexp.launch.folders import job_folder
from dermaexp.launch.record import recording
from dermaexp.report.style import write_figure
from dermaexp.runs.directory import HISTORY_COLUMNS, RunDirectory
from dermaexp.runs.folders import new_folder, remove_unused
from dermaexp.runs.identity import canonical, config_digest


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "deep" / "file.json"
    write_bytes(path, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(path.parent) == {"file.json"}


def test_metrics_are_valid_json_with_a_schema(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    directory.write_metrics(
        {"test": {"recall": {"a": float("nan")}, "confusion": [[1, 0], [2, 3]], "seed": "[1,  2]"}}
    )
    text = (tmp_path / "metrics.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {
        "schema": 1,
        "test": {"recall": {"a": None}, "confusion": [[1, 0], [2, 3]], "seed": "[1,  2]"},
    }


def test_history_keeps_every_digit(tmp_path: Path) -> None:
    row = dict.fromkeys(HISTORY_COLUMNS, 1 / 3) | {"epoch": 1, "val_macro_auroc": np.nan}
    directory = RunDirectory(tmp_path)
    assert not directory.has_history()
    directory.write_history([row])
    (read,) = directory.read_history()
    assert read["train_loss"] == 1 / 3
    assert read["epoch"] == 1
    assert np.isnan(read["val_macro_auroc"])
    header = (tmp_path / "history.csv").read_text().splitlines()[0]
    assert header == (
        "epoch,train_loss,train_accuracy,val_loss,val_accuracy,val_macro_auroc,lr,seconds"
    )


def test_numbers_that_are_equal_are_written_alike() -> None:
    assert repr(canonical({"a": [15.0, 1e20], "b": True, "limit_val_batches": 1.0})) == (
        "{'a': [15, 1e+20], 'b': True, 'limit_val_batches': 1.0}"
    )


def test_predictions_come_back_equal(tmp_path: Path) -> None:
    probabilities = np.random.default_rng(0).random((5, 3), dtype=np.float32)
    directory = RunDirectory(tmp_path)
    directory.write_predictions(val_probabilities=probabilities, val_targets=np.arange(5))
    read = directory.read_predictions()
    np.testing.assert_array_equal(read["val_probabilities"], probabilities)
    assert read["val_targets"].tolist() == [0, 1, 2, 3, 4]


def test_figures_are_on_white(tmp_path: Path) -> None:
    from PIL import Image

    write_figure(tmp_path, "empty", Figure(figsize=(2, 1), facecolor="red"))
    image = Image.open(tmp_path / "figures" / "empty.png").convert("RGB")
    assert image.size == (200, 100)
    assert image.getextrema() == ((255, 255),) * 3


def test_the_record_follows_the_run(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    with recording(directory) as record:
        assert directory.read_run()["status"] == "running"
        record["seed"] = 3
    run = read_json(tmp_path / "run.json")
    assert (run["status"], run["seed"]) == ("finished", 3)
    assert run["started"] <= run["finished"]
    assert run["versions"]["dermaexp"] == dermaexp.__version__
    assert run["versions"]["numpy"] == np.__version__
    assert run["command"].startswith("python -m dermaexp")


def test_the_record_of_a_pruned_run(tmp_path: Path) -> None:
    with recording(RunDirectory(tmp_path)) as record:
        record["pruned_after"] = 3
    assert RunDirectory(tmp_path).read_run()["status"] == "pruned"


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UserError("no such file: give another"), "failed", "no such file: give another"),
        (
            ZeroDivisionError("oh"),
            "failed",
            "ZeroDivisionError: oh (HYDRA_FULL_ERROR=1 shows where)",
        ),
        (KeyboardInterrupt(), "interrupted", None),
    ],
)
def test_the_record_of_a_run_that_ends_badly(
    error: BaseException, status: str, line: str | None, tmp_path: Path
) -> None:
    directory = RunDirectory(tmp_path)
    with pytest.raises(type(error)), recording(directory):
        raise error
    run = directory.read_run()
    assert (run["status"], run["error"]) == (status, line)
    assert run["finished"]


def test_an_earlier_attempt_stays_on_record_until_the_data_are_loaded(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    with pytest.raises(KeyboardInterrupt), recording(directory) as record:
        record["seed"] = 1
        raise KeyboardInterrupt
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(UserError), recording(directory, directory.read_run()):
        raise UserError("the file is gone")
    assert (tmp_path / "run.json").read_bytes() == before
    with pytest.raises(UserError), recording(directory, directory.read_run()) as record:
        record["data"] = {}
        raise UserError("the model cannot be built")
    assert read_json(tmp_path / "run.json")["status"] == "failed"


def test_config_digest_knows_values_not_order() -> None:
    digest = config_digest({"seed": 0, "model": {"hidden": [1, 2], "activation": "relu"}})
    assert digest == config_digest({"model": {"activation": "relu", "hidden": [1, 2]}, "seed": 0})
    assert digest != config_digest({"seed": 0, "model": {"hidden": [2, 1], "activation": "relu"}})
    assert len(digest) == 64


def test_two_runs_of_one_second_get_a_folder_each(tmp_path: Path) -> None:
    path = str(tmp_path / "outputs" / "12-00-00_cnn")
    assert [new_folder(path) for _ in range(3)] == [path, f"{path}-2", f"{path}-3"]
    assert names(tmp_path / "outputs") == {"12-00-00_cnn", "12-00-00_cnn-2", "12-00-00_cnn-3"}


def test_only_unused_new_folders_are_removed(tmp_path: Path) -> None:
    used, unused = (Path(new_folder(str(tmp_path / name))) for name in ("used", "unused"))
    (used / "run.json").touch()
    (unused / "multirun.yaml").touch()
    not_ours = tmp_path / "not_ours"
    not_ours.mkdir()
    remove_unused()
    assert names(tmp_path) == {"used", "not_ours"}


def test_job_folders_are_portable_and_readable(tmp_path: Path) -> None:
    config = job_config(tmp_path, "a")
    overrides = 'dataset.path=/data/x.npz,model=cnn,model.hidden=[64,32],name="a b:c"'
    digest = job_folder("", _root_=config)
    assert re.fullmatch("[0-9a-f]{8}", digest)
    assert job_folder(overrides, _root_=config) == (
        f"dataset.path=x.npz,model=cnn,model.hidden=-64,32-,name=-a-b-c-{digest}"
    )
    assert len(job_folder("key=" + "9" * 300, _root_=config)) == 109


def test_a_job_folder_belongs_to_all_that_can_change_its_numbers(tmp_path: Path) -> None:
    digest = job_folder("", _root_=job_config(tmp_path, "a"))
    assert job_folder("", _root_=job_config(tmp_path, "b")) == digest, "a name changes none"
    assert job_folder("", _root_=job_config(tmp_path, "a", lr=0.1)) != digest
    ours = {"x": {"_target_": "dermaexp.report.callbacks.DrawFigure", "figure": "montage"}}
    assert job_folder("", _root_=job_config(tmp_path, "a", callbacks=ours)) == digest
    theirs = {"x": {"_target_": "pytorch_lightning.callbacks.EarlyStopping"}}
    assert job_folder("", _root_=job_config(tmp_path, "a", callbacks=theirs)) != digest
    (tmp_path / f"model=cnn-{digest}").mkdir()
    assert job_folder("seed=0", _root_=job_config(tmp_path, "a")) == f"model=cnn-{digest}"


def job_config(sweep: Path, name: str, **settings: object) -> DictConfig:
    return OmegaConf.create({"name": name, **settings, "hydra": {"sweep": {"dir": str(sweep)}}})
