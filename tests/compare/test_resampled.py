"""The resamples of a comparison: numbers that stay, and the file that keeps them beside a run."""

from __future__ import annotations

import os
import time
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from helpers import RUN_TARGETS, write_answers, write_run

from dermaexp.compare import output
from dermaexp.compare.comparison import comparison_of
from dermaexp.compare.resampled import TESTED
from dermaexp.metrics import resampling
from dermaexp.metrics.scores import headline_scores
from dermaexp.runs.directory import HISTORY_COLUMNS, RunDirectory

# Estimate, low, high and p of cnn against the others, as dense products of floats computed them.
FOUND = {
    "model=mlp": {
        "accuracy": (0.055, -0.756551673380125, 0.8199282882007468, 0.6365363463653635),
        "balanced_accuracy": (
            0.061111111111111116,
            -0.6858093769291999,
            0.8159855402024498,
            0.6193380661933806,
        ),
        "macro_auroc": (
            0.07655615079365063,
            -0.6390699346954,
            0.7709087304772472,
            0.44275572442755723,
        ),
    },
    "model=ffn": {
        "accuracy": (0.17, -0.1070448794478, 0.44884623069612467, 0.09359064093590641),
        "balanced_accuracy": (
            0.21555555555555556,
            -0.11490127753849998,
            0.56333470001125,
            0.07839216078392161,
        ),
        "macro_auroc": (
            0.2106132936507935,
            0.056391071516575,
            0.3719946001218492,
            0.031996800319968,
        ),
    },
}
RUNS = [("cnn", 0), ("cnn", 1), ("mlp", 0), ("mlp", 1), ("ffn", 0)]


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Three groups, with ties among the rounded probabilities."""
    generator = np.random.default_rng(0)
    for place, (model, seed) in enumerate(RUNS):
        run = write_run(tmp_path / f"{model}{seed}", model, seed)
        logits = generator.normal(size=(100, 3)) + (1.5 - place / 4) * np.eye(3)[RUN_TARGETS]
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        rounded = probabilities.round(1).astype(np.float32)
        write_answers(run, RUN_TARGETS, rounded, macro_auroc=0.9 - place / 50)
    return tmp_path


def found(sweep: Path) -> dict:
    (table,) = comparison_of([sweep]).tables
    return {
        pair.other.label: {
            metric: (one.low, one.high, one.p, one.estimate)
            for metric, one in ((key, own.difference) for key, own in pair.findings.items())
        }
        for pair in table.evidence.pairs
    }


def test_the_numbers_are_those_of_earlier_versions(sweep: Path) -> None:
    assert found(sweep) == {
        label: {
            metric: pytest.approx((low, high, p, estimate), rel=1e-9)
            for metric, (estimate, low, high, p) in own.items()
        }
        for label, own in FOUND.items()
    }


def test_a_second_comparison_resamples_new_runs_only(sweep: Path, monkeypatch) -> None:
    first = found(sweep)
    bootstrap = Mock(wraps=resampling.bootstrap)
    monkeypatch.setattr(resampling, "bootstrap", bootstrap)
    assert found(sweep) == first
    assert bootstrap.call_count == 0
    assert {file.parent.name for file in sweep.glob("*/resampled.npz")} == {
        f"{model}{seed}" for model, seed in RUNS
    }
    (sweep / "mlp1" / "resampled.npz").write_bytes(b"PK damaged")  # such as by a loss of power
    (sweep / "ffn0" / "resampled.npz").write_bytes((sweep / "cnn0" / "resampled.npz").read_bytes())
    assert found(sweep) == first
    assert [len(call.args[1]) for call in bootstrap.call_args_list] == [2]


def test_resamples_that_cannot_be_kept_do_no_harm(sweep: Path, monkeypatch) -> None:
    first = found(sweep)
    for file in sweep.glob("*/resampled.npz"):
        file.unlink()
        (file.parent / file.name).mkdir()  # nobody can write there, not even root
    assert found(sweep) == first


@pytest.mark.parametrize("samples", [30, 16_400])
def test_sums_of_any_number_of_samples_are_exact(samples: int) -> None:
    """Two bytes hold the sums of few samples only."""
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 2, samples)
    probabilities = generator.dirichlet((1, 1), samples).astype(np.float32).round(2)
    resampled = resampling.bootstrap(targets, [probabilities], resamples=2)
    (counts,) = resampling.bootstrap_counts(samples, resamples=2)
    for place, count in enumerate(counts.T):
        chosen = np.repeat(np.arange(samples), count)
        expected = headline_scores(targets[chosen], probabilities[chosen])
        for metric in TESTED:
            assert resampled[metric][0, place] == pytest.approx(expected[metric], abs=1e-12)


def test_the_page_is_written_anew_only_where_something_changed(sweep: Path, monkeypatch) -> None:
    plotted = Mock(return_value={"comparison.html": b"page"})
    monkeypatch.setattr("dermaexp.compare.page.files", plotted)

    def written() -> int:
        plotted.reset_mock()
        output.write(comparison_of([sweep]), sweep)
        return plotted.call_count

    assert [written(), written()] == [1, 0]
    run = RunDirectory(sweep / "cnn0")
    run.write_history([dict.fromkeys(HISTORY_COLUMNS, 0.5)])
    assert [written(), written()] == [1, 0], "a curve"
    (sweep / "comparison.html").write_bytes(b"a user's")
    os.utime(sweep / "comparison.html", (later := time.time() + 1, later))
    assert written() == 1 and (sweep / "comparison.html").read_bytes() == b"page"
    (sweep / "leaderboard.md").unlink()
    assert written() == 1 and (sweep / "leaderboard.md").exists()
    write_run(sweep / "ffn1", "ffn", 1, status="failed", error="the disk is full")
    assert [written(), written()] == [1, 0], "a run left out"
