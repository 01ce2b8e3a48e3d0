"""A comparison's page: its numbers, its links, and that nothing that runs hold becomes markup."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from helpers import (
    OTHER_DATA,
    RUN_CLASSES,
    SWEEP_COMMAND,
    comparison_page,
    confusions,
    make_sweep,
    parsed,
    rows,
    write_run,
)
from PIL import Image

from dermaexp.compare.comparison import comparison_of
from dermaexp.compare.output import compare, write
from dermaexp.metrics import intervals, significance

FIGURES = ("test_accuracy", "learning_curves", "per_class_accuracy", "confusion_matrices")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep and its comparison, to be read only."""
    folder = make_sweep(tmp_path_factory.mktemp("swept"))
    compare(folder)
    return folder


@pytest.mark.slow
def test_the_numbers_are_the_leaderboard_s(swept: Path) -> None:
    ranked, runs, left_out, _ = parsed(swept).tables
    heading, *lines = ranked
    assert heading == [
        "rank",
        "model",
        "seeds",
        *("val AUROC", "test accuracy", "test balanced", "test AUROC", "test F1"),
        *("p, accuracy", "p, balanced accuracy", "p, macro AUROC"),
    ]
    scores = ("val_macro_auroc", "test_accuracy", "test_balanced_accuracy", "test_macro_auroc")
    for line, row in zip(lines[:3], rows(swept), strict=False):
        assert line[:3] == [row["rank"], row["model"], row["n"]]
        for cell, score in zip(line[3:8], [*scores, "test_macro_f1"], strict=True):
            parts = [float(row[key]) for key in (score, f"{score}_sd") if row[key]]
            assert cell == (" ± ".join(f"{part:.3f}" for part in parts) or "undefined")
        for cell, metric in zip(line[8:], ("accuracy", "balanced_accuracy"), strict=False):
            p = row[f"p_{metric}"]
            assert cell == (p and ("< 0.001" if float(p) < 0.001 else f"{float(p):.2g}"))
    assert lines[3][1:8] == ["majority baseline", "", "", "0.500", "0.333", "0.500", "0.222"]

    assert runs[0][:4] == ["rank", "seed", "model", "val accuracy"]
    for line, row in zip(runs[1:], rows(swept, "runs"), strict=True):
        assert line[:3] == [row["rank"], row["seed"], row["model"]]
        accuracy = row["test_accuracy"]
        assert line[5] == (accuracy and f"{float(accuracy):.4f}")
        assert line[-2:] == [row["status"], row["folder"]]
    assert left_out[1] == ["bad", "failed", "the <disk> is full"]


@pytest.mark.slow
def test_the_summary_says_what_was_found(swept: Path) -> None:
    page = parsed(swept)
    text = page.text.replace("\N{NO-BREAK SPACE}", " ")
    (table,) = comparison_of([swept]).tables
    low, high = table.groups[0].accuracy_interval()
    for words in (
        "model=cnn is the best of 3 run groups by val macro AUROC: 0.850 ± 0.071 (mean ± standard "
        "deviation over seeds 0, 1).",
        f"is 75.0 %, with a 95 % interval from {100 * low:.1f} % to {100 * high:.1f} %.",
        "Always predicting “b” scores 50.0 % on the same images: ",
        "1 of 6 runs did not finish or cannot be compared",
        table.evidence.method,
        *(one.words for pair in table.evidence.pairs for one in pair.findings.values()),
    ):
        assert words in text


@pytest.mark.slow
def test_the_confusion_counts_are_sums_over_seeds(swept: Path) -> None:
    found = confusions(swept)
    assert found["classes"] == list(RUN_CLASSES)
    assert [(group["label"], group["seeds"]) for group in found["groups"]] == [
        ("model=cnn", 2),
        ("model=ffn", 2),
        ("model=mlp", 1),
    ]
    cnn = found["groups"][0]["counts"]
    assert cnn == [[0, 40, 0], [0, 90, 10], [0, 0, 60]], "20 and 30 of the first images are wrong"


@pytest.mark.slow
def test_commands_files_and_runs_are_linked(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path / "a sweep")
    (sweep / "ffn0" / "report.html").write_text("")
    output = tmp_path / "out"
    output.mkdir()
    comparison = comparison_of([sweep])
    write(comparison, output)
    page = parsed(output)
    assert f"{SWEEP_COMMAND}\npython -m dermaexp model=mlp" in page.texts
    assert "python -m dermaexp.compare '../a sweep' --output ." in page.texts
    links = [link for link in page.addresses["href"] if link[0] not in "#d"]
    assert all((output / unquote(link)).exists() for link in links)
    assert "../a%20sweep/ffn0/report.html" in links
    assert "../a%20sweep/ffn1/" in links
    files = {"leaderboard.csv", "leaderboard.md", "runs.csv", "figures/effects.png"}
    assert files | {f"figures/{name}.png" for name in FIGURES} <= set(links)


@pytest.mark.slow
def test_the_page_needs_nothing_but_itself(swept: Path) -> None:
    page = parsed(swept)
    assert len(page.addresses["src"]) == 4, "the confusion matrices are tables"
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses["src"])
    text = (swept / "comparison.html").read_text()
    assert not re.search(r"https?://|@import|url\(", text)
    for name in (*FIGURES, "effects"):
        assert min(Image.open(swept / "figures" / f"{name}.png").size) > 300


@pytest.mark.slow
def test_nothing_that_runs_hold_becomes_markup(swept: Path, tmp_path: Path) -> None:
    evil = "</script></title><script>alert(1)</script><img src=x onerror=alert(1)> {{ 7 * 7 }} $x^$"
    for seed, value in enumerate((evil, "relu")):
        run = write_run(
            tmp_path / "evil" / str(seed),
            config={"model": {"activation": value}},
            name=evil,
            command=evil,
            data=OTHER_DATA | {"name": evil},
        )
        numbers = run.read_metrics()
        numbers["data"]["classes"] = [evil, "b", "c"]
        run.write_metrics(numbers)
    write_run(tmp_path / "evil" / "x <b> #1?", status="failed", error=evil)
    plain = parsed(swept)
    page = comparison_page(tmp_path / "evil")
    assert page.tags.count("script") == plain.tags.count("script") == 3
    assert page.tags.count("img") == plain.tags.count("img") - 1, "no learning curves"
    assert set(page.tags) <= set(plain.tags)
    assert confusions(tmp_path / "evil")["classes"][0] == evil
    assert confusions(tmp_path / "evil")["groups"][0]["label"].startswith("model.activation=")
    assert "x%20%3Cb%3E%20%231%3F/" in page.addresses["href"]
    assert page.texts.count(f"{evil}: comparison on {evil}") == 2
    assert page.text.count(evil) > 10


@pytest.mark.slow
def test_synthetic_data_are_named(swept: Path, tmp_path: Path) -> None:
    data = OTHER_DATA | {"name": "Synthetic lesions (SYNTHETIC DATA)", "synthetic": True}
    write_run(tmp_path / "synthetic" / "a", data=data)
    page = comparison_page(tmp_path / "synthetic")
    assert page.texts.count("ffn: comparison on Synthetic lesions (SYNTHETIC DATA)") == 2
    assert "Synthetic data. These images are computer-generated" in page.text
    assert "Synthetic" not in parsed(swept).text


def test_one_run_alone(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    page = comparison_page(tmp_path)
    assert "ffn is the only run group. Its val macro AUROC is 0.800 (seed 0)." in page.text
    assert "There are none: no run has a history.csv." in page.text
    assert page.tags.count("select") == 1
    assert not (tmp_path / "figures" / "effects.png").exists()
    low, high = intervals.wilson_interval(60, 100)
    interval = f"from {100 * low:.1f} % to {100 * high:.1f} %."
    assert interval in page.text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.slow
def test_seeds_without_predictions_have_no_interval(tmp_path: Path) -> None:
    (make_sweep(tmp_path) / "cnn0" / "predictions.npz").unlink()
    page = comparison_page(tmp_path)
    assert "there is no interval, as not every run left its predictions" in page.text
    assert "There is no interval without predictions.npz of every seed." in page.text
    assert "nothing was tested" in page.text


def test_no_run_can_be_compared(tmp_path: Path) -> None:
    write_run(tmp_path / "a", status="failed", error="no data")
    page = comparison_page(tmp_path)
    assert "There is no run that can be compared." in page.text
    assert "img" not in page.tags
    runs, left_out = page.tables
    assert (len(runs), left_out[1]) == (2, ["a", "failed", "no data"])


@pytest.mark.slow
def test_other_test_data_stand_in_tables_of_their_own(tmp_path: Path) -> None:
    write_run(tmp_path / "a", val=0.9)
    write_run(tmp_path / "b", val=0.8, data=OTHER_DATA)
    page = comparison_page(tmp_path)
    assert "ffn: comparison on Data and Other" in page.texts
    assert {"Leaderboard on Data, 100 test images", "Leaderboard on Other, 100 test images"} <= set(
        page.texts
    )
    first, second, runs, _ = page.tables
    assert len(first) == len(second) == 3
    assert [row[3] for row in runs] == ["data", "Data", "Other"]
    assert {"figures/test_accuracy.png", "figures/test_accuracy_2.png"} <= set(
        page.addresses["href"]
    )
    assert "dermaexp.compare . --force --output ." in page.text, "else they would be refused"


@pytest.mark.slow
def test_many_groups_are_shown_and_the_page_stays_small(tmp_path: Path, monkeypatch) -> None:
    for index in range(24):
        config = {"optimizer": {"lr": 10.0 ** (-4 + index / 10)}}
        write_run(tmp_path / str(index), wrong=20 + index, config=config)
    page = comparison_page(tmp_path)
    assert len(page.tables[0]) == 1 + 24 + 1
    assert "20 more run groups" in page.text
    assert (tmp_path / "comparison.html").stat().st_size < 3e6


def test_the_interval_of_a_mean_covers_images_and_seeds() -> None:
    """Of 100 images; equal seeds leave Wilson's width nearly, other seeds widen it."""
    equal = np.tile(np.arange(100) < 70, (3, 1))
    low, high = significance.mean_accuracy_interval(equal)
    assert (low, high) == pytest.approx(intervals.wilson_interval(70, 100), abs=0.02)
    other = np.stack([np.arange(100) < right for right in (60, 70, 80)])
    wide_low, wide_high = significance.mean_accuracy_interval(other)
    # Student's t with 2 degrees of freedom times 0.1 / sqrt(3), above and below.
    assert wide_high - wide_low > 2 * 4.30 * 0.1 / 3**0.5 * 0.95
    assert 0 <= wide_low < low and high < wide_high <= 1
    assert significance.mean_accuracy_interval(other) == (wide_low, wide_high), "the same each time"


@pytest.mark.slow
def test_links_lead_out_of_a_folder_elsewhere(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_sweep(Path("runs"))
    write(comparison_of([Path("runs")]), Path("deep/er"))
    assert "../../runs/cnn0/" in parsed(Path("deep/er")).addresses["href"]
