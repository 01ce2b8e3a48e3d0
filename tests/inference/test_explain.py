"""The verb explain: its sheets, in numbers and as files."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import NO_FIGURES
from PIL import Image

import dermaexp
from dermaexp.inference.explain import MOST

Cli = Callable[..., int]


@pytest.fixture
def train(cli: Cli, data_file: Path, tmp_path: Path) -> Callable[..., dermaexp.Run]:
    """Train a model for an epoch on the small file."""

    def run(*options: str) -> dermaexp.Run:
        data = ["dataset=npz", f"dataset.path={data_file}", "epochs=1", "trainer=cpu"]
        assert cli(*data, *options, *NO_FIGURES, "hydra.run.dir=run") == 0
        return dermaexp.load_run(tmp_path / "run")

    return run


@pytest.mark.slow
def test_the_most_confident_mistakes_and_the_class_means(
    cli: Cli, train: Callable[..., dermaexp.Run], tmp_path: Path, capsys
) -> None:
    run = train("model=cnn", "+trainer.limit_val_batches=3", "batch_size=10", "optimizer.lr=1e-9")
    assert cli("explain", "run", "--split", "val", "--top", "3", "--output", "out") == 0
    found = json.loads((tmp_path / "out" / "explanation.json").read_text())
    assert (found["method"], found["split"]) == ("grad_cam", "val")
    assert found["files"] == ["class_means.png", "mistakes.png"]
    for name in found["files"]:
        assert Image.open(tmp_path / "out" / name).format == "PNG"
    y_true, y_score = run.predictions["val"]
    wrong = []
    correct = dict.fromkeys(run.classes, 0)
    for true, scores in zip(y_true, y_score, strict=True):
        if scores.argmax() == true:
            correct[run.classes[true]] += 1
        else:
            wrong.append((float(scores.max()), run.classes[true], run.classes[scores.argmax()]))
    wrong = sorted(wrong, key=lambda row: -row[0])[:3]
    rows = [(row["probability"], row["true"], row["predicted"]) for row in found["mistakes"]]
    assert rows == wrong
    assert found["class_means"] == correct
    labels = np.load(tmp_path / "small.npz")["val_labels"].ravel()
    assert [run.classes[labels[row["index"]]] for row in found["mistakes"]] == [
        true for _, true, _ in wrong
    ], "the places are those of the whole split"


@pytest.mark.slow
def test_pictures(
    cli: Cli,
    train: Callable[..., dermaexp.Run],
    arrays: dict[str, np.ndarray],
    tmp_path: Path,
    capsys,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = train("model=ffn")
    (tmp_path / "pictures").mkdir()
    for index in range(2):
        Image.fromarray(arrays["test_images"][index]).save(tmp_path / f"pictures/{index}.png")
    (tmp_path / "pictures/bad.png").write_text("no picture")
    capsys.readouterr()
    assert cli("explain", "run", "pictures", "--output", "out") == 1
    error = capsys.readouterr().err
    assert "bad.png cannot be decoded" in error
    assert error.count("\n") == 1
    found = json.loads((tmp_path / "out" / "explanation.json").read_text())
    assert (found["method"], found["files"]) == ("integrated_gradients", ["pictures.png"])
    expected = run.predict(arrays["test_images"][:2])
    assert [row["predicted"] for row in found["pictures"]] == list(expected["class"])
    shares = [row["probability"] for row in found["pictures"]]
    np.testing.assert_allclose(shares, expected["confidence"], atol=1e-6)

    name = run.classes[2]
    assert cli("explain", "run", "pictures/1.png", "--class", name, "--output", "out") == 0
    (row,) = json.loads((tmp_path / "out" / "explanation.json").read_text())["pictures"]
    assert row["explained"] == name
    assert row["probability"] == pytest.approx(expected[name][1], abs=1e-6)

    (tmp_path / "many.csv").write_text("file\n" + "pictures/1.png\n" * (MOST + 1))
    for arguments, line in (
        (["pictures", "--class", "class 9"], "--class class 9 is unknown: did you mean"),
        (["--class", name], "--class explains pictures: give some"),
        (["pictures", "--top", "0"], "--top 0: expected a number from 1"),
        (["pictures", "--device", "tpu9"], "--device tpu9 cannot be used here"),
        (["many.csv"], f"101 pictures: one sheet holds {MOST} at most"),
    ):
        capsys.readouterr()
        assert cli("explain", "run", *arguments) == 1
        assert line in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "captum", None)
    assert cli("explain", "run", "pictures") == 1
    assert "captum is missing: python -m pip install 'dermaexp[explain]'" in capsys.readouterr().err
    assert not (tmp_path / "explanations").exists(), "nothing is left of what failed"
