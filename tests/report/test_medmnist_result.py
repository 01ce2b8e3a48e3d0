"""The result files for medmnist.Evaluator: it reads them and finds the numbers of metrics.json."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pooch
import pytest
from helpers import NO_FIGURES, random_predictions
from medmnist import Evaluator

from dermaexp.data import medmnist, npz
from dermaexp.data.medmnist_info import INFO
from dermaexp.data.splits import SPLITS, Split, Splits
from dermaexp.metrics import classification, multilabel
from dermaexp.report.medmnist_result import write_medmnist_result
from dermaexp.runs.directory import RunDirectory


def splits_of(flag: str, targets: np.ndarray, size: int = 28, flagged: bool = True) -> Splits:
    """Black images with these labels in every split, as that MedMNIST set."""
    part = Split(np.zeros((len(targets), size, size, 1), np.uint8), targets)
    classes = tuple(INFO[flag]["label"].values())
    return Splits("Set", classes, part, part, part, medmnist_flag=flag if flagged else None)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the Evaluator looks for MedMNIST's files."""
    folder = tmp_path / "medmnist_root"
    folder.mkdir()
    monkeypatch.setattr(Evaluator.__init__, "__defaults__", (None, str(folder)))
    return folder


@pytest.mark.parametrize("scale", [1, 20], ids=["unsure", "saturated"])
@pytest.mark.parametrize(
    ("flag", "size"),
    [("dermamnist", 28), ("dermamnist", 64), ("breastmnist", 28), ("retinamnist", 28)],
)
def test_medmnist_evaluates_it_to_our_numbers(
    flag: str, size: int, scale: float, root: Path, tmp_path: Path
) -> None:
    """Multi-class, another size, binary and ordinal."""
    classes = len(INFO[flag]["label"])
    targets, probabilities = random_predictions(400, classes, seed=5, scale=scale)
    suffix = "" if size == 28 else f"_{size}"
    np.savez(root / f"{flag}{suffix}.npz", val_labels=targets[:, None])
    directory, splits = RunDirectory(tmp_path / "run"), splits_of(flag, targets, size)
    write_medmnist_result(directory, "my net", splits, "val", targets, probabilities)
    (file,) = directory.medmnist.iterdir()
    numbers = classification.split_metrics(targets, probabilities, targets, splits.classes)
    auc, acc = numbers["macro_auroc"], numbers["accuracy"]
    assert file.name == f"{flag}{suffix}_val_[AUC]{auc:.3f}_[ACC]{acc:.3f}@my-net.csv"
    rows = list(csv.reader(file.open()))
    assert [row[0] for row in rows] == [str(index) for index in range(400)]
    read = np.array([row[1:] for row in rows], dtype=np.float64).astype(np.float32)
    np.testing.assert_array_equal(read, probabilities)
    theirs = Evaluator.parse_and_evaluate(str(file))
    assert tuple(theirs) == pytest.approx((auc, acc), abs=1e-12)
    assert list(directory.medmnist.iterdir()) == [file], "it writes the name that ours has"


def test_medmnist_evaluates_several_labels_to_our_numbers(root: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    targets = (generator.random((300, 14)) < 0.3).astype(np.int64)
    probabilities = generator.random((300, 14), np.float32) * (0.4 + 0.6 * targets)
    probabilities = probabilities.astype(np.float32)
    np.savez(root / "chestmnist.npz", test_labels=targets)
    directory, splits = RunDirectory(tmp_path / "run"), splits_of("chestmnist", targets)
    write_medmnist_result(directory, "cnn", splits, "test", targets, probabilities)
    (file,) = directory.medmnist.iterdir()
    numbers = multilabel.split_metrics(targets, probabilities, targets, splits.classes)
    auc, acc = numbers["macro_auroc"], numbers["accuracy"]
    assert file.name == f"chestmnist_test_[AUC]{auc:.3f}_[ACC]{acc:.3f}@cnn.csv"
    assert tuple(Evaluator.parse_and_evaluate(str(file))) == pytest.approx((auc, acc), abs=1e-12)


@pytest.mark.parametrize(
    ("name", "run"),
    [("cnn", "cnn"), ("a@b.c/../d", "a-b-c-d"), ("lr=0.01, näive", "lr=0-01-näive"), ("$", "-")],
)
def test_any_name_can_be_parsed(name: str, run: str, root: Path, tmp_path: Path) -> None:
    targets, probabilities = random_predictions(60, 7, seed=0)
    np.savez(root / "dermamnist.npz", test_labels=targets[:, None])
    directory = RunDirectory(tmp_path)
    splits = splits_of("dermamnist", targets)
    write_medmnist_result(directory, name, splits, "test", targets, probabilities)
    (file,) = directory.medmnist.iterdir()
    assert file.stem.partition("@")[2] == run
    Evaluator.parse_and_evaluate(str(file))
    assert list(directory.medmnist.iterdir()) == [file]


def test_a_second_attempt_leaves_one_file_a_split(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    for seed in (0, 1):
        targets, probabilities = random_predictions(60, 7, seed)
        for split in ("val", "test"):
            splits = splits_of("dermamnist", targets)
            write_medmnist_result(directory, "cnn", splits, split, targets, probabilities)
    assert sorted(file.name.partition("_[")[0] for file in directory.medmnist.iterdir()) == [
        "dermamnist_test",
        "dermamnist_val",
    ]
    directory.clear("cnn")
    assert not directory.medmnist.exists()


def test_other_data_and_parts_of_a_set_get_none(tmp_path: Path) -> None:
    targets, probabilities = random_predictions(60, 7, seed=0)
    splits = splits_of("dermamnist", targets)
    directory = RunDirectory(tmp_path)
    write_medmnist_result(directory, "cnn", splits, "val", targets[:50], probabilities[:50])
    others = replace(splits, medmnist_flag=None)
    write_medmnist_result(directory, "cnn", others, "val", targets, probabilities)
    assert not directory.medmnist.exists()


@pytest.fixture
def tiny_breastmnist(monkeypatch: pytest.MonkeyPatch, arrays: dict) -> dict[str, np.ndarray]:
    """Arrays of a file at 28 pixels with as many images as BreastMNIST is now said to have."""
    counts = {split: len(arrays[f"{split}_labels"]) for split in SPLITS}
    monkeypatch.setitem(medmnist.INFO["breastmnist"], "n_samples", counts)
    generator = np.random.default_rng(0)
    content = {}
    for split, count in counts.items():
        content[f"{split}_images"] = generator.integers(0, 255, (count, 28, 28), np.uint8)
        content[f"{split}_labels"] = generator.integers(0, 2, (count, 1), np.uint8)
    return content


def test_a_file_is_a_medmnist_set_only_with_its_counts_and_size(
    tiny_breastmnist: dict, tmp_path: Path
) -> None:
    def flag(classes: object = "breastmnist", **changes: np.ndarray) -> str | None:
        np.savez(tmp_path / "file.npz", **{**tiny_breastmnist, **changes})
        return npz.load(str(tmp_path / "file.npz"), classes=classes).medmnist_flag

    assert flag() == "breastmnist"
    assert flag(["malignant", "benign"]) is None
    assert flag("pneumoniamnist") is None, "which has more images"
    assert flag(synthetic=np.array(True)) is None
    small = {key: value[:, :20, :20] for key, value in tiny_breastmnist.items() if "im" in key}
    assert flag(**small) is None
    fewer = {key: value[:30] for key, value in tiny_breastmnist.items() if "val" in key}
    assert flag(**fewer) is None


def test_medmnist_s_own_file_is_the_set(
    tiny_breastmnist: dict, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = root / "breastmnist.npz"
    np.savez(file, **tiny_breastmnist)
    md5 = pooch.file_hash(str(file), alg="md5")
    monkeypatch.setitem(medmnist.INFO["breastmnist"], "MD5", md5)
    assert medmnist.load("breastmnist", 28, str(root), "error").medmnist_flag == "breastmnist"


@pytest.mark.slow
def test_a_run_on_a_medmnist_set_leaves_the_files(
    tiny_breastmnist: dict, root: Path, cli: Callable[..., int], tmp_path: Path
) -> None:
    np.savez(root / "breastmnist.npz", **tiny_breastmnist)
    data = (
        "dataset=npz",
        f"dataset.path={root / 'breastmnist.npz'}",
        "dataset.classes=breastmnist",
    )
    options = ("model=ffn", "epochs=1", "trainer=cpu", "name=v1.5", *NO_FIGURES)
    assert cli(*data, *options, "hydra.run.dir=run") == 0
    directory = RunDirectory(tmp_path / "run")
    numbers = directory.read_metrics()
    for split in ("val", "test"):
        (file,) = directory.medmnist.glob(f"breastmnist_{split}_*@v1-5.csv")
        theirs = Evaluator.parse_and_evaluate(str(file))
        ours = numbers[split]["macro_auroc"], numbers[split]["accuracy"]
        assert tuple(theirs) == pytest.approx(ours, abs=1e-12)
    off = ("callbacks.medmnist_result=null", "hydra.run.dir=off")
    assert cli(*data, *options, *off) == 0
    assert not (tmp_path / "off" / "medmnist").exists()
