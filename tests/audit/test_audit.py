"""The audit: what is planted is found, nothing else, and its figures on the real file are true."""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import exit_code
from PIL import Image

from dermaexp.audit.__main__ import main
from dermaexp.audit.detection import detection, missed
from dermaexp.audit.exact_duplicates import Place, between_splits, conflicts, exact_duplicates
from dermaexp.audit.findings import THRESHOLD, audit
from dermaexp.audit.findings import _classes as class_facts
from dermaexp.audit.near_duplicates import (
    COPY,
    GRID,
    SHIFTED,
    SIDE,
    TURNED,
    WHOLE,
    Embedding,
    Pairs,
    Window,
    near_duplicates,
    resized,
    sampling,
)
from dermaexp.audit.page import VALIDATED, findings
from dermaexp.data import npz
from dermaexp.data.lesion_groups import with_lesion_groups
from dermaexp.data.splits import SPLITS, Splits, checked_splits
from dermaexp.launch.dataset import composed

COUNTS = {"train": 90, "val": 30, "test": 40}
# What is planted: (split, index) of the copy -> index of the training image.
EXACT, CONFLICT = ("test", 0), ("val", 0)
COPIES = {EXACT: 5, CONFLICT: 10}
CHANGED = {("test", 1): 6, ("test", 2): 7, ("test", 3): 8, ("test", 4): 9, ("val", 1): 11}
PLANTED = COPIES | CHANGED


def blobs(generator: np.random.Generator, count: int, size: int = 28) -> np.ndarray:
    """Smooth random images (N, size, size, 3)."""
    coarse = generator.integers(0, 256, (count, 7, 7, 3), np.uint8)
    smooth = [
        Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC) for image in coarse
    ]
    return np.stack([np.asarray(image) for image in smooth])


def zoomed(image: np.ndarray, zoom: float) -> np.ndarray:
    inset = (image.shape[0] - image.shape[0] / zoom) / 2
    box = (inset, inset, image.shape[1] - inset, image.shape[0] - inset)
    return np.asarray(Image.fromarray(image).resize(image.shape[:2], box=box))


def darker(image: np.ndarray) -> np.ndarray:
    return (0.6 * image + (40, 10, 0)).astype(np.uint8)


@pytest.fixture
def planted() -> dict[str, np.ndarray]:
    """Images of which some of val and test are copies of training images, and changed ones."""
    generator = np.random.default_rng(0)
    content = {}
    for split, count in COUNTS.items():
        content[f"{split}_images"] = blobs(generator, count)
        content[f"{split}_labels"] = np.arange(count) % 3
    train = content["train_images"]
    for (split, index), source in COPIES.items():
        content[f"{split}_images"][index] = train[source]
        content[f"{split}_labels"][index] = content["train_labels"][source]
    content["val_labels"][CONFLICT[1]] = (content["train_labels"][COPIES[CONFLICT]] + 1) % 3
    test = content["test_images"]
    test[1] = np.rot90(train[6])
    test[2] = darker(train[7])
    test[3] = zoomed(train[8], 1.5)
    test[4] = darker(train[9][:, ::-1])
    content["val_images"][1] = np.roll(zoomed(train[11], 1.3), 1, axis=0)
    return content


def splits_of(content: dict[str, np.ndarray]) -> Splits:
    pairs = {s: (content[f"{s}_images"], content[f"{s}_labels"]) for s in SPLITS}
    return checked_splits("Planted", ("a", "b", "c"), pairs, origin="memory")


def test_what_is_planted_is_found_and_nothing_else(planted: dict[str, np.ndarray]) -> None:
    result = audit(splits_of(planted))
    found = {
        (second, int(j)): int(i)
        for (first, second), candidates in result.found.items()
        for i, j in zip(
            candidates.found(THRESHOLD).first, candidates.found(THRESHOLD).second, strict=True
        )
    }
    assert found == PLANTED
    near = result.facts["near_duplicates"]
    assert near["pairs"] == {"train, val": 2, "train, test": 5, "val, test": 0}
    assert near["test_images"] == 5
    assert near["test_images_of_class"] == {"a": 1, "b": 2, "c": 2}
    pairs = result.found["train", "test"].found(THRESHOLD)
    similarity = dict(zip(pairs.second.tolist(), pairs.similarity.tolist(), strict=True))
    for index in (0, 1, 2, 4):  # neither light nor turns nor mirrors change anything
        assert similarity[index] == pytest.approx(1, abs=0.01)
    assert (np.diff(pairs.margin) <= 0).all()


def test_exact_duplicates_and_conflicts(planted: dict[str, np.ndarray]) -> None:
    planted["train_images"][20] = planted["train_images"][21]
    planted["test_images"][39] = planted["test_images"][0]
    splits = splits_of(planted)
    duplicates = exact_duplicates(splits)
    assert duplicates == [
        [Place("train", 5), Place("test", 0), Place("test", 39)],
        [Place("train", 10), Place("val", 0)],
        [Place("train", 20), Place("train", 21)],
    ]
    assert between_splits(duplicates) == {
        "train": 1,
        "val": 0,
        "test": 1,
        "train, val": 1,
        "train, test": 1,
        "val, test": 0,
    }
    # Image 39 of test has class 39 % 3 = 0, training image 5 has class 2; 20 and 21 differ too.
    assert conflicts(splits, duplicates) == duplicates


def test_several_labels_conflict_if_one_differs(planted: dict[str, np.ndarray]) -> None:
    """Of the classes' indicators the audit finds the same, and counts an image for each label."""
    single = splits_of(planted)
    several = {s: np.eye(3, dtype=int)[planted[f"{s}_labels"]] for s in SPLITS}
    splits = splits_of(planted | {f"{s}_labels": labels for s, labels in several.items()})
    duplicates = exact_duplicates(splits)
    assert conflicts(splits, duplicates) == conflicts(single, duplicates) != []
    assert class_facts(splits) == class_facts(single)


def grouped(splits: Splits, groups: dict[str, list[str]], path: Path) -> Splits:
    with path.open("w") as file:
        file.write("split,index,lesion_id\n")
        for split, names in groups.items():
            file.writelines(f"{split},{index},{name}\n" for index, name in enumerate(names))
    return with_lesion_groups(splits, str(path), "lesion_id")


@pytest.fixture
def lesions(planted: dict[str, np.ndarray], tmp_path: Path) -> Splits:
    """Every image a lesion of its own but for six copies, and one pair that looks different."""
    names = {s: [f"{s}{index}" for index in range(count)] for s, count in COUNTS.items()}
    for (split, index), source in PLANTED.items():
        names[split][index] = f"train{source}"
    names["test"][4] = "another"  # a copy, but by the file not of train 9
    names["test"][30] = "train70"  # of train 70, but looking different
    return grouped(splits_of(planted), names, tmp_path / "lesions.csv")


def test_detection_is_measured_against_the_groups(lesions: Splits) -> None:
    result = audit(lesions)
    row = next(row for row in result.facts["detection"] if row["threshold"] == THRESHOLD)
    assert row["train_val_pairs"] == {
        "told": 2,
        "right": 2,
        "there": 2,
        "precision": 1.0,
        "recall": 1.0,
    }
    of_test = {"told": 5, "right": 4, "there": 5, "precision": 0.8, "recall": 0.8}
    assert row["test_pairs"] == row["test_images"] == of_test
    assert list(missed(lesions, result.found, THRESHOLD)) == [
        (Place("train", 70), Place("test", 30))
    ]
    assert result.facts["leak"]["test"] == {
        "images": 40,
        "with_train": 5,
        "with_train_or_val": 5,
    }
    assert result.facts["leak"]["val_with_train"] == 2
    by_class = result.facts["leak"]["classes"]
    assert sum(own["with_train"] for own in by_class.values()) == 5
    told = findings(result)
    assert "Leak: 5 of 40 test images have the lesion_id of an image in train, 5 of one" in told[1]
    assert "80.0\N{NO-BREAK SPACE}% of the pairs found are of one lesion_id" in told[-1]


def test_precision_of_nothing_found_is_none(lesions: Splits) -> None:
    nothing = Pairs(*(np.empty(0, int) for _ in range(2)), *(np.empty(0) for _ in range(2)))
    found = dict.fromkeys([("train", "val"), ("train", "test"), ("val", "test")], nothing)
    scores = detection(lesions, found)[0]["test_pairs"]
    assert (scores["precision"], scores["recall"], scores["there"]) == (None, 0.0, 5)


def test_windows_are_weighted_means_of_pixels() -> None:
    for window in (*SHIFTED, *TURNED):
        weights = sampling(window)
        assert weights.shape == (GRID * GRID, SIDE * SIDE)
        assert (weights >= 0).all()
        assert weights.sum(axis=1) == pytest.approx(1, abs=1e-5)
    image = np.random.default_rng(0).random((SIDE, SIDE))
    halved = image.reshape(GRID, 2, GRID, 2).mean(axis=(1, 3))
    whole = (sampling(WHOLE) @ image.ravel()).reshape(GRID, GRID)
    assert whole == pytest.approx(halved, abs=1e-6)
    # At zoom 2 a sample is the mean of two points a quarter of a pixel to each side of a pixel.
    three = np.array([0.125, 0.75, 0.125])
    zoomed_in = (sampling(Window(2.0, down=3, right=-2)) @ image.ravel()).reshape(GRID, GRID)
    assert zoomed_in[0, 0] == pytest.approx(three @ image[9:12, 4:7] @ three, abs=1e-6)
    assert zoomed_in[13, 5] == pytest.approx(three @ image[22:25, 9:12] @ three, abs=1e-6)
    turned = (sampling(Window(quarter_turns=1)) @ image.ravel()).reshape(GRID, GRID)
    assert turned == pytest.approx(np.rot90(halved), abs=1e-6)
    mirrored = (sampling(Window(mirrored=True)) @ image.ravel()).reshape(GRID, GRID)
    assert mirrored == pytest.approx(halved[:, ::-1], abs=1e-6)


@pytest.mark.parametrize("size", [(28, 28), (56, 84), (14, 14), (31, 17)])
def test_images_of_any_size_are_brought_to_one(size: tuple[int, int]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, *size, 1), np.uint8)
    brought = resized(images)
    assert brought.shape == (3, SIDE, SIDE, 1)
    assert brought.mean(axis=(1, 2)) == pytest.approx(images.mean(axis=(1, 2)) / 255, abs=1e-5)
    if size == (28, 28):
        assert brought == pytest.approx(images / 255, abs=1e-6)
    if size == (56, 84):
        means = images.reshape(3, 28, 2, 28, 3, 1).mean(axis=(2, 4)) / 255
        assert brought == pytest.approx(means, abs=1e-5)


@pytest.mark.slow
def test_copies_are_found_in_large_gray_and_tiny_sets() -> None:
    generator = np.random.default_rng(1)
    large = blobs(generator, 50, size=96)
    second = blobs(generator, 20, size=96)
    second[3] = darker(np.rot90(large[40], 2))
    pairs = near_duplicates(Embedding(large), large, second).found(THRESHOLD)
    assert (pairs.first.tolist(), pairs.second.tolist()) == ([40], [3])
    gray, other = large[..., :1], second[..., :1]
    pairs = near_duplicates(Embedding(gray), gray, other).found(THRESHOLD)
    assert (pairs.first.tolist(), pairs.second.tolist()) == ([40], [3])
    one = large[:1]
    pairs = near_duplicates(Embedding(one), one, darker(one[0])[None]).found(THRESHOLD)
    assert pairs.similarity.tolist() == [pytest.approx(1, abs=0.01)]
    assert pairs.similarity[0] >= COPY, "found without others to compare with"


@pytest.mark.slow
@pytest.mark.parametrize("size", [28, 64, 100])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_one_color_are_like_nothing(size: int, channels: int) -> None:
    several = blobs(np.random.default_rng(1), 50, size=96)[..., :channels]
    levels = np.repeat(np.array([0, 7, 130, 250, 255], np.uint8), 4)
    flat = np.tile(levels[:, None, None, None], (1, size, size, channels))
    for embedding in (Embedding(several), Embedding(flat)):
        assert not len(near_duplicates(embedding, flat, flat))


@pytest.mark.slow
def test_blocks_do_not_change_what_is_found(
    planted: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = splits_of(planted)
    embedding = Embedding(splits.train.images)
    at_once = near_duplicates(embedding, splits.train.images, splits.test.images)
    monkeypatch.setattr("dermaexp.audit.near_duplicates.BLOCK", 7)
    in_blocks = near_duplicates(embedding, splits.train.images, splits.test.images)
    assert in_blocks.margin == pytest.approx(at_once.margin, abs=1e-5)
    assert in_blocks.first.tolist() == at_once.first.tolist()
    assert in_blocks.second.tolist() == at_once.second.tolist()


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.chdir(tmp_path)
    return functools.partial(exit_code, monkeypatch, main)


@pytest.fixture
def planted_file(planted: dict[str, np.ndarray], tmp_path: Path) -> Path:
    path = tmp_path / "planted.npz"
    np.savez(path, **planted)
    return path


@pytest.mark.slow
def test_the_command_leaves_files_and_a_page(
    command: Callable[..., int], planted_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert (
        command("dataset=npz", f"dataset.path={planted_file}", "dataset.classes=[a,b,'<i>']") == 0
    )
    (folder,) = tmp_path.glob("audits/*/*")
    files = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    pictures = {"figures/conflicts.png", "figures/near_duplicates.png"}
    assert files == {"audit.json", "audit.html", "near_duplicates.csv", *pictures}
    facts = json.loads((folder / "audit.json").read_text())
    assert facts["classes"]["a"]["train"] == {"images": 30, "share": pytest.approx(1 / 3)}
    assert facts["conflicts"] == [[["train", 10], ["val", 0]]]
    assert (
        facts["data"]["fingerprint"]
        == npz.load(str(planted_file), classes=["a", "b", "<i>"]).fingerprint
    )
    assert "leak" not in facts
    with (folder / "near_duplicates.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7
    assert rows[0]["first_split"] == "train" and "same_group" not in rows[0]
    assert {(row["second_split"], int(row["second_index"])) for row in rows} == set(PLANTED)
    page = (folder / "audit.html").read_text()
    assert "&lt;i&gt;" in page and "<i>" not in page
    assert page.count("<img") == 2
    assert "from a margin\nof 0.08, or from a cosine of 0.95 whatever" in page
    shown = capsys.readouterr().out
    assert "Exact duplicates: 2 pictures stored more than once" in shown
    assert f"Measured on {VALIDATED['data']}" in shown and "50.0\N{NO-BREAK SPACE}%" in shown
    assert f"audit: {folder}" in shown.replace("\n", "")


@pytest.mark.slow
def test_the_command_with_groups(
    command: Callable[..., int], planted_file: Path, lesions: Splits, tmp_path: Path
) -> None:
    arguments = [f"dataset.path={planted_file}", f"dataset.groups={tmp_path / 'lesions.csv'}"]
    assert command("dataset=npz", "--output", "here", *arguments) == 0
    facts = json.loads((tmp_path / "here" / "audit.json").read_text())
    assert facts["leak"]["test"]["with_train"] == 5
    assert facts["data"]["groups"]["column"] == "lesion_id"
    pictures = {file.stem for file in (tmp_path / "here" / "figures").iterdir()}
    assert pictures == {"conflicts", "near_duplicates", "other_group", "missed"}
    folds = ["dataset.split=grouped", "dataset.folds=3", "dataset.fold=1"]
    assert command("dataset=npz", "--output", "fold", *arguments, *folds) == 0
    facts = json.loads((tmp_path / "fold" / "audit.json").read_text())
    assert facts["leak"]["test"]["with_train_or_val"] == 0
    assert facts["data"]["name"] == "planted, grouped by lesion_id"


@pytest.mark.slow
def test_a_dataset_of_ones_own(command: Callable[..., int], planted_file: Path) -> None:
    own = planted_file.parent / "my conf" / "dataset"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text(
        f"_target_: dermaexp.data.npz.load\npath: {planted_file}\n"
        "grayscale: true\nnormalize: false\n"
    )
    assert command("--config-dir", own.parent, "dataset=mine", "--output", "out") == 0


@pytest.mark.parametrize(
    "name", ["it's mine", "a, b", "${x} $y", "a=1", "ü{}[1]", "\\${now:%Y} \\'q\\\\", 'a "b" # %d']
)
def test_the_folder_of_ones_own_may_have_any_name(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name / "dataset").mkdir(parents=True)
    (tmp_path / name / "dataset" / "mine.yaml").write_text("path: here")
    assert composed(["dataset=mine"], Path(name)).dataset.path == "here"
    assert "path" not in composed(["dataset=synthetic"]).dataset, "Hydra is as it was"


def test_a_single_class_and_image_can_be_audited(tmp_path: Path, command) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 9, 12), np.uint8)
    content = {}
    for image, split in zip(images, SPLITS, strict=True):
        content |= {f"{split}_images": image[None], f"{split}_labels": np.zeros((1, 1), int)}
    np.savez(tmp_path / "one.npz", **content)
    assert command("dataset=npz", "dataset.path=one.npz", "--output", "out") == 0
    facts = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert facts["near_duplicates"]["test_images"] == 0
    assert facts["duplicates"] == []


def test_without_pairs_present_or_found_no_share_is_reported(
    planted: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """Precision of nothing found and recall of nothing there are undefined."""
    apart = {s: [f"{s}{index}" for index in range(count)] for s, count in COUNTS.items()}
    told = findings(audit(grouped(splits_of(planted), apart, tmp_path / "apart.csv")))
    assert told[-1] == (
        "Measured here, between test and the other splits: there is no pair of one "
        "lesion_id, so that none of the 5 pairs found is right."
    )
    for split, count in COUNTS.items():
        planted[f"{split}_images"] = blobs(np.random.default_rng(ord(split[1])), count)
    one_pair = apart | {"test": ["train70", *apart["test"][1:]]}
    told = findings(audit(grouped(splits_of(planted), one_pair, tmp_path / "pair.csv")))
    expected = "Measured here, no pair of one lesion_id between test and the other splits is found."
    assert told[-1] == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["dataset=npzz"], "dataset=npzz is unknown: did you mean 'npz'?"),
        (["dataset=npz"], "dataset.path is missing: give it on the command line"),
        (["dataset=npz", "dataset.path=no.npz"], "no.npz is not a file: expected an npz"),
        (["dataset=npz", "dataset.pth=x"], "dataset.pth is unknown: did you mean 'dataset.path'?"),
        (
            ["model=cnn"],
            "'model=cnn' is not an override of the dataset: expected dataset=OPTION or",
        ),
        (["dataset"], "'dataset' is not an override: expected KEY=VALUE"),
        (["~dataset"], "the config group dataset is missing: expected dataset=OPTION"),
        (["dataset=synthetic", "dataset.fold=1"], "the official split has no folds"),
        (["dataset=synthetic", "dataset.groups=no.csv"], "dataset.groups=no.csv is not a file"),
        (["--config-dir", "nowhere"], "--config-dir nowhere is not a folder"),
        (["--outptu", "x"], "unrecognized arguments: --outptu"),
    ],
)
def test_bad_input_is_reported_in_one_line(
    arguments: list[str], line: str, command, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert command(*arguments) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("error: ")
    assert line in errors
    assert errors.count("\n") == 1, errors
    assert not (tmp_path / "audits").exists()


def test_help(command: Callable[..., int], capsys: pytest.CaptureFixture) -> None:
    assert command("--help") == 0
    assert "dataset=npz" in capsys.readouterr().out


@pytest.mark.slow
def test_the_stored_figures_are_those_of_the_real_file(real_data: Path, real_index: Path) -> None:
    """The threshold has the largest F1 on train and val, its figures are those of test."""
    splits = npz.load(str(real_data), classes="dermamnist")
    result = audit(with_lesion_groups(splits, str(real_index), "lesion_id"))
    rows = {row["threshold"]: row for row in result.facts["detection"]}

    def f1(row: dict) -> float:
        scores = row["train_val_pairs"]
        return 2 * scores["right"] / (scores["told"] + scores["there"])

    assert max(rows, key=lambda threshold: f1(rows[threshold])) == THRESHOLD
    row = rows[THRESHOLD]
    assert row["test_pairs"]["there"] == 1014
    assert row["test_images"]["there"] == 773
    for what in ("test_pairs", "test_images"):
        for key in ("precision", "recall"):
            assert row[what][key] == pytest.approx(VALIDATED[what][key], abs=0.005)
    assert result.facts["leak"]["test"]["with_train"] == 693
