"""A run's page: true to its files, whatever they hold and however the run ended."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import PAGE_CLASSES, PAGE_SAMPLES, RECORD, Page, make_run

from dermaexp.core import files
from dermaexp.core.errors import UserError
from dermaexp.metrics import constant, intervals
from dermaexp.report import page as page_module
from dermaexp.report.__main__ import main
from dermaexp.report.page import write_report
from dermaexp.runs.directory import RunDirectory


def page_of(directory: RunDirectory) -> Page:
    return Page(write_report(directory))


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def texts(numbers: dict[str, Any], key: str) -> list[str]:
    """The number and its interval as they stand on the page."""
    ends = numbers["intervals"].get(key) or ()
    return [number(numbers[key]), "\N{EN DASH}".join(f"{e:.3f}" for e in ends if e is not None)]


def test_the_numbers_are_those_of_the_run(tmp_path: Path) -> None:
    directory = make_run(tmp_path)
    page = page_of(directory)
    numbers = directory.read_metrics()
    headlines, classes, points, history, provenance = page.tables
    counts = np.bincount(directory.read_predictions()["test_targets"], minlength=3)
    baseline = constant.headline_scores(counts, label=0)
    interval = "95\N{NO-BREAK SPACE}% interval"
    heading = ["Metric", "Val", interval, "Test", interval, "Majority baseline, test"]
    assert headlines[0] == heading
    keys = ("accuracy", "balanced_accuracy", "macro_auroc", "macro_f1", "loss")
    for key, (label, *cells) in zip(
        (*keys, "expected_calibration_error"), headlines[1:], strict=True
    ):
        assert label.lower() == key.replace("_", " ")
        expected = [text for s in ("val", "test") for text in texts(numbers[s], key)]
        assert cells == [*expected, number(baseline.get(key))]

    hits = np.diagonal(numbers["test"]["confusion_matrix"])
    keys = ("recall", "precision", "f1", "auroc", "average_precision")
    for name, samples, right, row in zip(
        PAGE_CLASSES, PAGE_SAMPLES, hits, classes[1:], strict=True
    ):
        assert row[:2] == [name, str(samples)]
        own = numbers["test"]["per_class"][name]
        assert row[2:] == ["".join(texts(own, key)) for key in keys]
        if samples:
            low, high = intervals.wilson_interval(right, samples)
            assert row[2] == f"{right / samples:.4f}{low:.3f}\N{EN DASH}{high:.3f}"
            assert 0 < own["auroc"] < 1
        else:
            assert (row[2], row[5], row[6]) == ("", "", "")

    assert points[0][1:3] == ["Threshold", "Val sensitivity"]
    melanoma = numbers["operating_points"]["classes"]["melanoma"]
    read_off = numbers["test"]["per_class"]["melanoma"]["sensitivity_at_95_specificity"]
    assert points[2] == [
        "melanoma",
        number(melanoma["threshold"]),
        *(number(melanoma["val"][side]) for side in ("sensitivity", "specificity")),
        *("".join(texts(melanoma["test"], side)) for side in ("sensitivity", "specificity")),
        number(read_off),
    ]
    found = melanoma["test"]["sensitivity"]
    words = page.text.replace(" %", "%")
    assert f"For melanoma, the threshold chosen on val has a sensitivity of {found:.1%}" in words
    assert "a specificity of at least 95%" in words

    assert history[0][:2] == ["epoch", "train loss"]
    assert [row[0] for row in history[1:]] == [str(epoch) for epoch in range(1, 12)]
    assert history[1][1:] == ["0.0100"] * 5 + ["0.01", "0.01"]
    assert history[5][5] == "", "an AUROC that is undefined"

    facts = dict(provenance)
    assert (facts["Seed"], facts["Device"]) == ("7", "cpu, threads 2")
    assert facts["Input size"] == "32 pixels"
    assert (facts["Data fingerprint"], facts["Git commit"]) == ("f19e", "")
    assert RECORD["command"] in page.text
    assert "path: a ${b}" in page.text
    assert "12,345 parameters, trained for 11 epochs on 1,200 images" in page.text
    assert "my net on Small" in page.texts, "the title"


@pytest.mark.parametrize(
    ("hits", "verdict"),
    [
        (90, "the run does better (p < 0.0001)."),  # right on 30 that it is not, wrong on none
        (62, "no difference in accuracy is shown (p = 0.5)."),  # 2 to 0: 2 / 2**2
        (3, "the run does worse (p < 0.0001)."),
    ],
)
def test_accuracy_stands_beside_the_majority_baseline(
    hits: int, verdict: str, tmp_path: Path
) -> None:
    directory = make_run(tmp_path)
    numbers = directory.read_metrics()
    nevi = min(hits, 60)
    melanomas = hits - nevi
    confusion = [[nevi, 60 - nevi, 0], [30 - melanomas, melanomas, 0], [0, 0, 0]]
    numbers["test"]["confusion_matrix"] = confusion
    directory.write_metrics(numbers)
    low, high = intervals.wilson_interval(hits, 90)
    text = page_of(directory).text.replace(" %", "%")
    assert f"{hits} of 90 images are classified correctly: an accuracy of {hits / 90:.1%}" in text
    assert f"95% Wilson interval from {low:.1%} to {high:.1%}. " in text
    assert f"Always predicting “nevus” scores 66.7% on the same images: {verdict}" in text


def test_nothing_that_a_run_holds_becomes_markup(tmp_path: Path) -> None:
    evil = "</title></pre><script>alert(1)</script><img src=x onerror=alert(1)> {{ 7 * 7 }} $x^$"
    directory = make_run(
        tmp_path,
        name=evil,
        status="failed",
        error=evil,
        command=f"python -m dermaexp '{evil}'",
        config={evil: evil},
        data={**RECORD["data"], "name": evil},
    )
    (tmp_path / "a <b> #1 ?.txt").write_text("")
    page = page_of(directory)
    assert page.tags.count("script") == 1, "the one that sorts"
    assert page.tags.count("img") == 3
    assert f"{evil} on {evil}" in page.text
    assert page.text.count(evil) >= 7
    assert "a%20%3Cb%3E%20%231%20%3F.txt" in page.addresses["href"]
    assert [row[0] for row in page.tables[1][1:]] == PAGE_CLASSES


def test_the_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    page = page_of(make_run(tmp_path))
    assert len(page.addresses["src"]) == 3
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses["src"])
    icon, *links = page.addresses["href"]
    assert icon == "data:,"
    assert all((tmp_path / link).is_file() for link in links)
    assert {"run.json", "metrics.json", "figures/montage.png"} <= set(links)
    text = (tmp_path / "report.html").read_text()
    assert not re.search(r"https?://|@import|url\(", text)


def test_figures_stand_in_their_order(tmp_path: Path) -> None:
    page = page_of(make_run(tmp_path))
    captions = ["Accuracy and loss of train", "Training images before", "a new figure"]
    places = [page.text.index(caption) for caption in captions]
    assert places == sorted(places)


def test_synthetic_data_are_named(tmp_path: Path) -> None:
    data = {**RECORD["data"], "name": "Synthetic lesions (SYNTHETIC DATA)", "synthetic": True}
    page = page_of(make_run(tmp_path / "synthetic", data=data))
    assert page.texts.count("my net on Synthetic lesions (SYNTHETIC DATA)") == 2
    assert "Synthetic data. These images are computer-generated" in page.text
    assert "synthetic" not in page_of(make_run(tmp_path / "real")).text.lower()


@pytest.mark.parametrize(
    ("status", "error", "line"),
    [
        ("failed", "the loss is not a number", "This run failed: the loss is not a number"),
        ("interrupted", None, "This run was interrupted."),
        ("running", None, "This run has not ended."),
        ("pruned", None, "This run was pruned. Its search ended it after epoch 11, as others"),
    ],
)
def test_a_run_that_did_not_finish(
    status: str, error: str | None, line: str, tmp_path: Path
) -> None:
    directory = make_run(tmp_path, status=status, error=error, finished=None, pruned_after=11)
    for name in ("metrics.json", "predictions.npz"):
        (tmp_path / name).unlink()
    page = page_of(directory)
    assert line in page.text
    assert "There are no final numbers" in page.text
    assert "python -m dermaexp resume=." in page.texts
    assert str(tmp_path) not in directory.report.read_text()
    history, provenance = page.tables
    assert len(history) == 12
    assert dict(provenance)["Status"] == status
    assert dict(provenance)["Finished"] == ""


def test_a_run_that_failed_before_anything_was_known(tmp_path: Path) -> None:
    early = ("status", "started", "finished", "command", "git_commit", "code_digest", "versions")
    early += ("platform",)
    record = {key: RECORD[key] for key in early}
    directory = RunDirectory(tmp_path / "early")
    directory.write_run(record | {"status": "failed", "error": "seed=x: expected a whole number"})
    page = page_of(directory)
    assert "early" in page.texts, "the title"
    for words in (
        "This run failed: seed=x: expected a whole number",
        "There are no final numbers",
        "There are no figures: the run has not plotted any",
        "There is no history: no epoch has ended",
        "There is no config: the run ended before its config",
    ):
        assert words in page.text
    assert len(page.tables) == 1


def test_without_callbacks_the_numbers_stand(tmp_path: Path) -> None:
    directory = make_run(tmp_path)
    numbers = directory.read_metrics()
    directory.write_metrics(numbers | {"tested_with": "last", "best_epoch": None})
    for file in ("history.csv", "predictions.npz", *(tmp_path / "figures").iterdir()):
        (tmp_path / file).unlink()
    page = page_of(directory)
    headlines, classes, points, _ = page.tables
    assert headlines[1][3] == f"{numbers['test']['accuracy']:.4f}"
    melanoma = numbers["test"]["per_class"]["melanoma"]
    assert classes[2][5] == "".join(texts(melanoma, "auroc")), "metrics.json has them"
    assert len(points) == 4
    assert "tested with the weights of the last epoch" in page.text
    assert "img" not in page.tags


def test_calibrated_stands_beside_raw(tmp_path: Path) -> None:
    directory = make_run(tmp_path, calibrate=True)
    calibration = directory.read_metrics()["calibration"]
    page = page_of(directory)
    table = page.tables[3]
    assert table[0] == ["Split", "Loss, raw", "Loss, calibrated", "Error, raw", "Error, calibrated"]
    for row, split in zip(table[1:], ("val", "test"), strict=True):
        keys = ("loss", "expected_calibration_error")
        kinds = ("raw", "calibrated")
        assert row == [split, *(number(calibration[split][k][key]) for key in keys for k in kinds)]
    assert f"divides the logits by {calibration['temperature']:.3f}" in page.text
    assert "Loss, raw" not in page_of(make_run(tmp_path / "raw")).texts


def test_data_without_melanoma_highlight_no_class(tmp_path: Path) -> None:
    directory = make_run(tmp_path)
    text = json.dumps(directory.read_metrics()).replace('"melanoma"', '"mole"')
    directory.write_metrics(json.loads(text))
    page = page_of(directory)
    assert "melanoma" not in page.text
    assert [row[0] for row in page.tables[2][1:]] == [PAGE_CLASSES[0], "mole", PAGE_CLASSES[2]]


def test_a_job_of_a_sweep_can_be_made_alone(tmp_path: Path) -> None:
    command = (
        "python -m dermaexp --config-dir mine -m model=ffn,cnn 'name=\"my net\"' hydra.sweep.dir=s"
    )
    page = page_of(make_run(tmp_path, command=command))
    assert command in page.text
    assert "python -m dermaexp --config-dir mine model=cnn 'name=\"my net\"'" in page.text
    page = page_of(make_run(tmp_path))
    assert "Command of the sweep" not in page.text, "the -m of python is not that of a sweep"


def test_a_run_that_was_gone_on_with_says_so(tmp_path: Path) -> None:
    attempt = {"started": "2026-01-02", "code_digest": "new", "command": "", "git_commit": None}
    attempts = [attempt | {"own_code": {}}]
    page = page_of(make_run(tmp_path, resumed=attempts))
    assert dict(page.tables[-1])["Resumed"] == "2026-01-02 (code digest new)"


def test_the_page_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch) -> None:
    directory = make_run(tmp_path)
    before = write_report(directory).read_bytes()

    def full(_: int) -> None:
        raise OSError("full")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="full"):
        write_report(directory)
    assert (tmp_path / "report.html").read_bytes() == before
    monkeypatch.undo()
    assert write_report(directory).read_bytes() == before, "the same files, the same page"


def test_a_folder_without_a_run_is_refused(tmp_path: Path, monkeypatch, capsys) -> None:
    run = make_run(tmp_path / "run").path
    monkeypatch.setattr(sys, "argv", ["report", str(tmp_path), str(run)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    streams = capsys.readouterr()
    assert streams.err == (f"error: {tmp_path} is no run directory: expected a run.json in it\n"), (
        "one line"
    )
    assert streams.out == f"{run / 'report.html'}\n", "the others are made"


@pytest.mark.parametrize("name", ["run.json", "metrics.json", "history.csv"])
def test_a_file_that_was_cut_is_reported(name: str, tmp_path: Path) -> None:
    directory = make_run(tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-30] + b"?")
    with pytest.raises(UserError, match=f"holds a file that is damaged: {re.escape(name)}: "):
        write_report(directory)


def test_the_flags_of_a_command_keep_their_values() -> None:
    words = ["-m", "--config-dir", "a=b 'q'", "model=mine", "~x"]
    assert page_module._flags(words) == words[:3]


@pytest.mark.slow
def test_the_command_does_without_torch(tmp_path: Path) -> None:
    run = make_run(tmp_path).path
    code = (
        "import sys; sys.argv[1:] = [sys.argv[1]]; from dermaexp.report.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules"
    )
    command = [sys.executable, "-c", code, str(run)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0, answer.stderr
    assert json.loads((run / "run.json").read_text()) == RECORD, "nothing else is touched"
