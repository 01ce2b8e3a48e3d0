"""logger=tensorboard, mlflow, wandb: what a run sends, read back with each tracker's own reader."""

from __future__ import annotations

import json
import os
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers import NO_FIGURES

from dermaexp.core import files
from dermaexp.runs.directory import HISTORY_COLUMNS, RunDirectory
from dermaexp.training import trackers

Cli = Callable[..., int]
COSTS = ("images_per_second", "memory_mb")


@pytest.fixture
def train(cli: Cli, data_file: Path, tmp_path: Path) -> Callable[..., RunDirectory]:
    """Train for two epochs; one figure is plotted."""

    def run(*arguments: str, folder: str = "run") -> RunDirectory:
        options = [*(o for o in NO_FIGURES if "roc_curves" not in o), "dataset=npz"]
        options += [f"dataset.path={data_file}", "trainer=cpu", "model=ffn", "epochs=2"]
        assert cli(*options, "scheduler=cosine", f"hydra.run.dir={folder}", *arguments) == 0
        return RunDirectory(tmp_path / folder)

    return run


def final(directory: RunDirectory) -> dict[str, float]:
    """The final numbers as a tracker names them."""
    numbers = directory.read_metrics()
    names = ("accuracy", "balanced_accuracy", "macro_auroc", "macro_f1", "loss")
    return {f"final/{s}_{n}": numbers[s][n] for s in ("val", "test") for n in names}


def check_rows(directory: RunDirectory, rows: list[dict[str, float]]) -> None:
    """Compare `rows`, of the epochs in their order, with history.csv."""
    history = directory.read_history()
    assert len(rows) == len(history) > 0
    for row, kept in zip(rows, history, strict=True):
        for name in set(HISTORY_COLUMNS) - {"seconds"}:
            assert row[name] == pytest.approx(kept[name], rel=1e-6), name
        assert row["seconds"] == pytest.approx(kept["seconds"], abs=0.2)
        assert row["images_per_second"] > 120 / kept["seconds"] * 0.9
        assert row["memory_mb"] > 50


def event_rows(events, names: tuple[str, ...] = (*HISTORY_COLUMNS, *COSTS)) -> list[dict]:
    series = {name: events.Scalars(name) for name in names}
    steps = [scalar.step for scalar in series["lr"]]
    assert steps == sorted(steps)
    return [{name: series[name][i].value for name in names} for i in range(len(steps))]


@pytest.mark.slow
def test_tensorboard(train: Callable[..., RunDirectory]) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    plugin = pytest.importorskip("tensorboard.plugins.hparams.plugin_data_pb2")
    directory = train("logger=[csv,tensorboard]")
    assert directory.read_run()["trackers"] == {"tensorboard": "tensorboard"}
    events = accumulator.EventAccumulator(str(directory.path / "tensorboard"))
    events.Reload()
    check_rows(directory, event_rows(events))
    for name, value in final(directory).items():
        (scalar,) = events.Scalars(name)
        assert (scalar.step, scalar.value) == (2, pytest.approx(value, rel=1e-6))
    (picture,) = events.Images("figures/roc_curves")
    assert (picture.width, picture.height) > (300, 300)
    (text,) = events.Tensors("config/text_summary")
    assert "lr: 0.001" in text.tensor_proto.string_val[0].decode()
    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    parameters = plugin.HParamsPluginData.FromString(content).session_start_info.hparams
    assert parameters["optimizer/lr"].number_value == 0.001
    assert parameters["batch_size"].number_value == 64
    content = events.summary_metadata["_hparams_/experiment"].plugin_data.content
    infos = plugin.HParamsPluginData.FromString(content).experiment.metric_infos
    assert {"final/test_macro_auroc"} <= {info.name.tag for info in infos}


@pytest.mark.slow
def test_a_run_has_the_numbers_and_the_digest_of_one_without(
    train: Callable[..., RunDirectory],
) -> None:
    pytest.importorskip("tensorboard")
    plain = train("augment=strong", "logger=none")
    tracked = train("augment=strong", "logger=tensorboard", folder="tracked")
    assert "trackers" not in plain.read_run()
    assert not (plain.path / "tensorboard").exists()
    digests = [run.read_run()["config_digest"] for run in (plain, tracked)]
    assert digests[0] == digests[1]
    for name, array in plain.read_predictions().items():
        assert np.array_equal(array, tracked.read_predictions()[name])


def interrupted(train: Callable, cli: Cli, monkeypatch: pytest.MonkeyPatch, *arguments: str):
    """A run that was stopped when last.ckpt of epoch 1 was written, then resumed."""
    from dermaexp.training.callbacks import TrackEpochs

    measure = TrackEpochs.on_train_epoch_start

    def stop(self: TrackEpochs, trainer, module) -> None:
        measure(self, trainer, module)
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(TrackEpochs, "on_train_epoch_start", stop)
    with pytest.raises(AssertionError):
        train(*arguments)
    first = RunDirectory("run").read_run()
    assert first["status"] == "interrupted"
    monkeypatch.setattr(TrackEpochs, "on_train_epoch_start", measure)
    assert cli("resume=run") == 0
    assert RunDirectory("run").read_run()["trackers"] == first["trackers"]
    return RunDirectory("run")


@pytest.mark.slow
def test_a_resumed_run_goes_on_in_the_same_tensorboard(train, cli: Cli, monkeypatch) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    directory = interrupted(train, cli, monkeypatch, "logger=tensorboard")
    events = accumulator.EventAccumulator(str(directory.path / "tensorboard"))
    events.Reload()
    check_rows(directory, event_rows(events))


@pytest.fixture
def mlflow_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A client of mlflow.db in `tmp_path`, as it is when a run has ended."""
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setattr(trackers, "PATIENCE", 60)  # its first import is slow
    monkeypatch.setattr(trackers, "FAREWELL", 60)
    return lambda: mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")


def mlflow_rows(client, run_id: str) -> list[dict[str, float]]:
    rows: dict[int, dict[str, float]] = {}
    for name in (*HISTORY_COLUMNS, *COSTS):
        for metric in client.get_metric_history(run_id, name):
            rows.setdefault(metric.step, {})[name] = metric.value
    return [rows[step] for step in sorted(rows)]


@pytest.mark.slow
def test_mlflow(train, cli: Cli, monkeypatch, mlflow_client) -> None:
    """Of a run that is resumed: one tracked run has everything."""
    directory = interrupted(train, cli, monkeypatch, "logger=mlflow", "name=mine")
    client = mlflow_client()
    (experiment,) = client.search_experiments(filter_string="name = 'dermaexp'")
    (run,) = client.search_runs([experiment.experiment_id])
    assert directory.read_run()["trackers"] == {"mlflow": run.info.run_id}
    assert (run.info.status, run.info.run_name) == ("FINISHED", "mine")
    assert run.data.params["optimizer/lr"] == "0.001"
    assert not any(key.startswith("logger") for key in run.data.params)
    check_rows(directory, mlflow_rows(client, run.info.run_id))
    for name, value in final(directory).items():
        assert run.data.metrics[name] == value
    (figure,) = client.list_artifacts(run.info.run_id, "figures")
    assert figure.path == "figures/roc_curves.png"


@pytest.mark.slow
def test_a_sweep_in_mlflow_has_a_parent(
    cli: Cli, data_file: Path, mlflow_client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the same command runs it again; its files are the comparison's."""
    options = [*NO_FIGURES, "dataset=npz", f"dataset.path={data_file}", "trainer=cpu", "epochs=1"]
    command = ["-m", *options, "model=ffn", "logger=mlflow", "name=study"]
    for _ in range(2):
        assert cli(*command, "seed=0,1") == 0
    client = mlflow_client()
    (experiment,) = client.search_experiments(filter_string="name = 'dermaexp'")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if run.info.run_name == "study" and not run.data.params]
    assert parent.info.status == "FINISHED"
    children = [run for run in runs if run is not parent]
    assert {run.data.params["seed"] for run in children} == {"0", "1"}
    assert len(children) == 2
    for run in children:
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.metrics["final/test_accuracy"] >= 0
    artifacts = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"comparison.html", "leaderboard.csv", "runs.csv"} <= artifacts
    assert trackers.PARENT not in os.environ


@pytest.mark.slow
def test_a_run_goes_on_without_a_tracker_that_is_down(
    train, mlflow_client, capsys: pytest.CaptureFixture
) -> None:
    directory = train(
        "logger=[tensorboard,mlflow]", "logger.mlflow.tracking_uri=http://127.0.0.1:9"
    )
    assert directory.read_run()["status"] == "finished"
    assert directory.read_run()["trackers"] == {"tensorboard": "tensorboard"}
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert "logger=mlflow does not take what is sent (" in line
    assert "refused" in line


def wandb_records(content: bytes) -> Iterator[bytes]:
    """The records of an offline file: LevelDB's log format, after seven bytes of its own."""
    block, position, parts = 32768, 7, []
    while position + 7 <= len(content):
        if block - position % block < 7:  # too little for a header: padding
            position += block - position % block
            continue
        _, length, kind = struct.unpack_from("<IHB", content, position)
        parts.append(content[position + 7 : position + 7 + length])
        position += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield b"".join(parts)
            parts = []


@pytest.mark.slow
def test_wandb(train, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setattr(trackers, "PATIENCE", 60)
    directory = train("logger=wandb", "name=mine")
    (file,) = directory.path.glob("wandb/offline-run-*/*.wandb")
    rows, config = [], {}
    for data in wandb_records(file.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(data)
        if record.HasField("run"):
            assert record.run.display_name == "mine"
            assert record.run.run_id == directory.read_run()["trackers"]["wandb"]
        for item in record.run.config.update if record.HasField("run") else record.config.update:
            config[item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
        items = record.history.item if record.HasField("history") else []
        rows.append({"/".join(i.nested_key) or i.key: i.value_json for i in items})
    values = [{k: json.loads(v) for k, v in row.items()} for row in rows]
    check_rows(directory, [row for row in values if "lr" in row])
    (last,) = [row for row in values if "final/test_accuracy" in row]
    assert {name: last[name] for name in final(directory)} == final(directory)
    assert config["batch_size"] == 64 and config["optimizer"]["lr"] == 0.001
    assert any("figures/roc_curves" in key for row in values for key in row)


class Slow(trackers.Tracker):
    """It hangs where it is asked to connect."""

    gate = threading.Event()

    def begin(self) -> None:
        self.gate.wait()


def test_a_tracker_that_hangs_is_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(trackers, "PATIENCE", 0.01)
    monkeypatch.setattr(trackers, "FAREWELL", 0.01)
    sender = trackers.Sender("slow", Slow({}, trackers.Tracked("a", tmp_path, {})))
    sender.begin()
    sender.send("log_metrics", {"a": 1.0}, 1)
    sender.end("success")
    Slow.gate.set()
    assert "logger=slow does not take what is sent (it did not" in capsys.readouterr().err


class Flaky(trackers.Tracker):
    """Its first two messages fail."""

    def begin(self) -> None:
        self.logger, self.got, self.failures = self, [], 0

    def log_metrics(self, metrics, step: int | None) -> None:
        if self.failures < 2:
            self.failures += 1
            raise ConnectionError("not now")
        self.got.append((metrics, step))

    def end(self, status: str) -> None:
        self.got.append(status)


def test_what_failed_is_sent_again_in_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(trackers, "PAUSE", 0.001)
    monkeypatch.setattr(trackers, "LONGEST_PAUSE", 0.01)
    sender = trackers.Sender("flaky", Flaky({}, trackers.Tracked("a", tmp_path, {})))
    sender.begin()
    for step in (1, 2):
        sender.send("log_metrics", {"a": 1.0}, step)
    while len(sender.tracker.got) < 2:
        pass
    sender.end("success")
    assert sender.tracker.got == [({"a": 1.0}, 1), ({"a": 1.0}, 2), "success"]
    assert capsys.readouterr().err.count("ConnectionError: not now") == 1


def test_a_missing_package_is_one_line(cli: Cli, data_file: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    options = ["dataset=npz", f"dataset.path={data_file}", "model=ffn", "logger=mlflow"]
    assert cli(*options, "hydra.run.dir=run") == 1
    line = "logger=mlflow needs a package that is missing: pip install 'dermaexp[mlflow]'"
    assert line in capsys.readouterr().err
    assert files.read_json(Path("run/run.json"))["status"] == "failed"
