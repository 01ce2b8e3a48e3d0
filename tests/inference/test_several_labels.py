"""A run on a small chestmnist, from its numbers and page to every verb that uses it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers import FIGURES, NO_FIGURES, small_set
from medmnist.evaluator import getACC, getAUC
from PIL import Image

import dermaexp
from dermaexp.core.errors import UserError
from dermaexp.data.medmnist_info import INFO
from dermaexp.inference import exporters
from dermaexp.inference.card import card
from dermaexp.inference.evaluate import evaluation, write
from dermaexp.inference.run import Run
from dermaexp.inference.sheets import of_class_means, of_mistakes
from dermaexp.metrics.calibration import calibrated

pytestmark = pytest.mark.slow
TASK = INFO["chestmnist"]["task"]
LABELS = list(INFO["chestmnist"]["label"].values())


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("several")


@pytest.fixture(scope="module")
def own_table(root: Path):
    """medmnist's table, which names the small file's MD5 in this module."""
    with pytest.MonkeyPatch.context() as patch:
        yield small_set("chestmnist", root, patch)


@pytest.fixture(scope="module")
def run(root: Path, own_table: Path) -> Run:
    given = ["dataset=medmnist", "dataset.flag=chestmnist", f"dataset.root={root}", "model=ffn"]
    options = ["epochs=12", "optimizer.lr=0.003", "calibrate=true", "trainer=cpu"]
    return dermaexp.run([*given, *options, f"hydra.run.dir={root / 'run'}"])


def stored(run: Run) -> dict:
    return json.loads((run.path / "metrics.json").read_text())


def test_its_numbers_are_those_of_medmnist(run: Run) -> None:
    numbers, (targets, probabilities) = stored(run), run.predictions["test"]
    test = numbers["test"]
    assert numbers["data"]["task"] == run.record["data"]["task"] == "multi-label"
    assert targets.shape == probabilities.shape == (50, 14)
    assert test["macro_auroc"] == pytest.approx(getAUC(targets, probabilities, TASK), abs=1e-12)
    assert test["accuracy"] == pytest.approx(getACC(targets, probabilities, TASK), abs=1e-12)
    assert test["macro_auroc"] > 0.8, "it has learnt"
    assert numbers["majority_labels"] == []
    assert test["baseline"]["accuracy"] == pytest.approx(1 - targets.mean())
    assert numbers["calibration"]["test"]["raw"]["loss"] == test["loss"]
    assert run.history["val_macro_auroc"].max() == numbers["val"]["macro_auroc"]
    assert "macro AUROC" in repr(run)


def test_its_page_and_figures_are_of_labels(run: Run) -> None:
    assert {file.stem for file in (run.path / "figures").iterdir()} == set(FIGURES)
    page = (run.path / "report.html").read_text()
    assert "<h2>Labels</h2>" in page and "<h2>Classes</h2>" not in page
    words = " ".join(page.replace("\N{NO-BREAK SPACE}", " ").split())
    assert "of the labels of all 50 images are predicted correctly" in words
    assert "Always predicting no label scores" in words
    assert "Each label against its absence on test" in words
    for label in ("subset accuracy", "macro average precision"):
        assert label in words
    (name,) = {file.name.partition("@")[0] for file in (run.path / "medmnist").glob("*test*")}
    test = stored(run)["test"]
    assert f"[AUC]{test['macro_auroc']:.3f}_[ACC]{test['accuracy']:.3f}" in name


def test_it_predicts_all_labels_above_a_half(run: Run, tmp_path: Path, cli, capsys) -> None:
    raw = run.predictions["test"].probabilities
    images = run._stored.splits.test.images[:4, ..., 0]
    expected = calibrated(raw[:4], stored(run)["calibration"]["temperature"], several=True)
    frame = run.predict(images)
    np.testing.assert_allclose(frame[LABELS], expected, atol=1e-5)
    named = [", ".join(np.array(LABELS)[own > 0.5]) or "none" for own in expected]
    assert frame["labels"].tolist() == named
    for place, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{place}.png")
    assert cli("predict", run.path, tmp_path / "0.png", "--csv", tmp_path / "out.csv") == 0
    header, row = (tmp_path / "out.csv").read_text().splitlines()
    assert header.startswith("file,predicted,1.,confidence,2.,confidence 2")
    assert named[0] in row
    capsys.readouterr()
    assert cli("predict", run.path, tmp_path / "0.png", "--min-confidence", "0.5") == 1
    assert "--min-confidence is of one label an image" in capsys.readouterr().err


def test_it_is_evaluated_again_and_on_other_data(
    run: Run, root: Path, own_table: Path, tmp_path: Path
) -> None:
    again = run.evaluate()
    assert "numbers equal metrics.json to the last digit" in again.notes[0]
    chest = ["dataset=npz", f"dataset.path={own_table}", "dataset.classes=chestmnist"]
    found = evaluation([run.path, run.path], chest, "val")
    assert found.numbers["val"]["macro_auroc"] == pytest.approx(stored(run)["val"]["macro_auroc"])
    assert found.numbers["majority_labels"] == []
    assert any("ensemble minus" in note and "in accuracy: +0.0" in note for note in found.notes)
    write(found, tmp_path / "evaluation", "evaluate")
    page = (tmp_path / "evaluation" / "evaluation.html").read_text()
    assert "<h2>Labels</h2>" in page
    assert "always predicts the labels of most images" in page
    with pytest.raises(UserError, match="predicts several labels an image, but images of small"):
        evaluation([run.path], ["dataset=npz", f"dataset.path={one_label(root)}"])
    with pytest.raises(UserError, match="does not say which images have atelectasis"):
        with np.load(own_table) as arrays:
            renamed = root / "renamed.npz"
            np.savez(renamed, **arrays)
        names = ",".join(["other", *LABELS[1:]])
        evaluation(
            [run.path], ["dataset=npz", f"dataset.path={renamed}", f"dataset.classes=[{names}]"]
        )


def one_label(root: Path) -> Path:
    file = root / "small.npz"
    arrays = {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = np.zeros((4, 12, 12), np.uint8)
        arrays[f"{split}_labels"] = np.array([0, 1, 0, 1])
    np.savez(file, **arrays)
    return file


def test_its_export_gives_the_same_probabilities(run: Run) -> None:
    """Sigmoids are in the graph, as is the temperature."""
    exported = exporters.BY_FORMAT["torch_export"](run.directory, {})
    images = run._stored.splits.test.images[:5].repeat(3, axis=3)
    expected = calibrated(
        run.predictions["test"].probabilities[:5],
        stored(run)["calibration"]["temperature"],
        several=True,
    )
    np.testing.assert_allclose(exported.predict(images), expected, atol=1e-5)


def test_its_card_speaks_of_labels(run: Run) -> None:
    text = card(run.directory)
    content = yaml.safe_load(text.split("---")[1])
    assert content["model-index"][0]["results"][0]["metrics"][0]["type"] == "accuracy"
    assert "says which of 14 labels an image has" in text
    assert "Always predicting no label" in text
    assert "## Limits by label" in text
    assert text.count("**: AUROC ") == 14


def test_its_mistakes_are_labels(run: Run) -> None:
    pytest.importorskip("captum")
    targets, probabilities = run.predictions["test"]
    sheet = of_mistakes(run.model, run._stored, "test", 3)
    assert sheet is not None
    for row in sheet.content:
        place = LABELS.index(row["predicted"])
        wrong = probabilities[row["index"], place] > 0.5, targets[row["index"], place] == 1
        assert wrong[0] != wrong[1]
    counts = of_class_means(run.model, run._stored, "test").content
    expected = ((probabilities > 0.5) & (targets == 1)).sum(axis=0)
    assert list(counts.values()) == expected.tolist()


def test_two_runs_are_compared_by_the_paired_bootstrap(run: Run, root: Path, cli: Callable) -> None:
    data = ["dataset=medmnist", "dataset.flag=chestmnist", f"dataset.root={root}"]
    folder = root / "sweep"
    given = [
        "-m",
        *data,
        "model=ffn",
        "seed=0,1",
        "optimizer.lr=0.001,0.003",
        "epochs=3",
        *NO_FIGURES,
    ]
    assert cli(*given, *NO_FIGURES, f"hydra.sweep.dir={folder}") == 0
    runs = dermaexp.load_runs([folder])
    (table,) = runs.comparison.tables
    (pair,) = table.evidence.pairs
    finding = pair.findings["macro_auroc"]
    means = [np.mean([r.metrics["test"]["macro_auroc"] for r in g.runs]) for g in table.groups]
    assert finding.difference.estimate == pytest.approx(means[0] - means[1])
    assert "McNemar" not in table.evidence.method
    assert table.baselines[0].label == "always no label"
    low, high = table.groups[0].accuracy_interval()
    assert low < table.groups[0].mean("test", "accuracy") < high
    assert 0 <= table.groups[0].p_against(table.baselines[0]) <= 1
    found = runs.leaderboard
    assert found["test_subset_accuracy"][0] == table.groups[0].mean("test", "subset_accuracy")
    assert found["test_macro_average_precision"].iloc[-1] > 0, "of the baseline"
    page = (folder / "comparison.html").read_text()
    assert "AUROC of each label on test" in page
    assert "<select" not in page
    assert (folder / "figures" / "confusion_matrices.png").exists()


def test_its_demo_names_all_labels(run: Run, own_table: Path) -> None:
    pytest.importorskip("captum")
    pytest.importorskip("gradio")
    from dermaexp.inference import demo_page, demonstrated

    shown = demonstrated.demonstrated(run.directory)
    assert shown.test_labels.shape == (len(shown.test_images), 14)
    assert len({image.tobytes() for image in shown.test_images}) == len(shown.test_images)
    truth = ", ".join(np.array(LABELS)[shown.test_labels[0] == 1])
    _, message, probabilities, *_ = demo_page._answered(shown, shown.test_images[0], None, truth)
    said = ", ".join(name for name, p in probabilities.items() if p > 0.5) or "none"
    verdict = "correctly" if said == truth else "wrongly"
    assert f"with the labels {truth}, predicted {verdict} as {said}." in message
    _, message, *_ = demo_page._answered(shown, shown.test_images[0], None)
    assert f"Predicted: {said}." in message
