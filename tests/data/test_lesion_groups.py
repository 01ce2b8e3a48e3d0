"""Groups, such as lesions: read from a CSV, leaking between splits, kept whole in folds."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import medmnist
import numpy as np
import pytest
import yaml
from helpers import NO_FIGURES, overridden
from omegaconf import OmegaConf

from dermaexp.core.errors import UserError
from dermaexp.data import load, npz
from dermaexp.data.division import missing_classes
from dermaexp.data.folds import grouped_split
from dermaexp.data.how import GROUP_COLUMN, How
from dermaexp.data.lesion_groups import leaked, shares_lesion, with_lesion_groups
from dermaexp.data.pool import pooled
from dermaexp.data.splits import SPLITS, Splits, checked_splits
from dermaexp.metrics import classification
from dermaexp.report import leak
from dermaexp.training.run_metrics import run_leak_metrics

Cli = Callable[..., int]
CONF = Path(__file__).resolve().parents[2] / "conf"
BASE_AND_DERMAMNIST = ("_dataset.yaml", "dataset/dermamnist.yaml")
GROUPS = {"train": ["a", "a", "b", "c"], "val": ["b", "d"], "test": ["a", "d", "e", "e", "c"]}
LABELS = {"train": [0, 0, 1, 1], "val": [1, 0], "test": [0, 0, 1, 1, 1]}


def splits_of(labels: dict[str, list[int]], classes: tuple[str, ...] = ("benign", "melanoma")):
    """Splits whose images differ, each holding its own number."""
    numbers = iter(range(10_000))
    arrays = {}
    for split, own in labels.items():
        images = np.zeros((len(own), 4, 4, 3), np.uint8)
        for image in images:
            image[0, 0, :2] = divmod(next(numbers), 256)
        arrays[split] = (images, np.array(own))
    return checked_splits("Small", classes, arrays, origin="memory")


def write_groups(path: Path, groups: dict[str, list[str]], **extra: dict[str, list[object]]) -> str:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "index", "lesion_id", *extra])
        for split in groups:
            for index, group in enumerate(groups[split]):
                writer.writerow(
                    [split, index, group, *(own[split][index] for own in extra.values())]
                )
    return str(path)


@pytest.fixture
def small(tmp_path: Path) -> Splits:
    """Nine images, two of test's lesions being in train, one in val, one in neither."""
    return with_lesion_groups(
        splits_of(LABELS), write_groups(tmp_path / "g.csv", GROUPS), "lesion_id"
    )


def test_groups_are_those_of_the_file(small: Splits) -> None:
    for split in SPLITS:
        assert small.lesion_groups(split).tolist() == GROUPS[split]
    assert small.record["split"] == {"kind": "official"}
    recorded = small.record["groups"]
    assert (recorded["file"], recorded["column"]) == ("g.csv", "lesion_id")
    assert len(recorded["fingerprint"]) == 64
    assert small.fingerprint == splits_of(LABELS).fingerprint, "that of images and labels alone"
    assert "groups" not in splits_of(LABELS).record


def test_fingerprint_is_of_the_groups_and_not_of_the_file(small: Splits, tmp_path: Path) -> None:
    backwards = {split: GROUPS[split] for split in reversed(SPLITS)}
    path = write_groups(tmp_path / "other.csv", backwards, label=LABELS)
    again = with_lesion_groups(splits_of(LABELS), path, "lesion_id")
    assert again.grouping.fingerprint == small.grouping.fingerprint
    changed = GROUPS | {"val": ["b", "e"]}
    other = with_lesion_groups(splits_of(LABELS), write_groups(Path(path), changed), "lesion_id")
    assert other.grouping.fingerprint != small.grouping.fingerprint


def test_leaked_means_in_train_or_val(small: Splits) -> None:
    assert shares_lesion(small, "test", ["train"]).tolist() == [
        True,
        False,
        False,
        False,
        True,
    ]
    assert leaked(small).tolist() == [True, True, False, False, True]
    assert shares_lesion(small, "val", ["train"]).tolist() == [True, False]


def test_labels_in_the_file_must_be_the_datas(tmp_path: Path) -> None:
    """The same images in another order would otherwise get each other's lesions unseen."""
    right = write_groups(tmp_path / "right.csv", GROUPS, label=LABELS)
    with_lesion_groups(splits_of(LABELS), right, "lesion_id")
    names = {s: [("benign", "melanoma")[k] for k in own] for s, own in LABELS.items()}
    by_name = write_groups(tmp_path / "names.csv", GROUPS, label=names)
    with_lesion_groups(splits_of(LABELS), by_name, "lesion_id")
    codes = {split: ["nv"] * len(own) for split, own in LABELS.items()}
    other_words = write_groups(tmp_path / "codes.csv", GROUPS, label=codes)
    with_lesion_groups(splits_of(LABELS), other_words, "lesion_id")
    wrong = LABELS | {"val": [0, 0]}
    path = write_groups(tmp_path / "wrong.csv", GROUPS, label=wrong)
    with pytest.raises(UserError, match="val 0 has the label 0, but 1 in the data"):
        with_lesion_groups(splits_of(LABELS), path, "lesion_id")


@pytest.mark.parametrize("classes", [("1", "2"), ("0", "1"), ("1", "0"), ("benign", "1")])
def test_names_of_classes_may_be_numbers(classes: tuple[str, str], tmp_path: Path) -> None:
    """The whole column is names or is numbers, whichever of both fits."""
    splits = splits_of(LABELS, classes)
    names = {s: [classes[k] for k in own] for s, own in LABELS.items()}
    for column in (names, LABELS):
        with_lesion_groups(
            splits, write_groups(tmp_path / "g.csv", GROUPS, label=column), "lesion_id"
        )
    mixed = LABELS | {"test": names["test"]}
    swapped = {s: [classes[1 - k] for k in own] for s, own in LABELS.items()}
    refused = {"swapped": swapped, "mixed": mixed}
    if set(classes) == {"0", "1"}:  # the names swapped are the numbers, or the other way round
        del refused["swapped"]
    if classes == ("0", "1"):
        del refused["mixed"]
    for column in refused.values():
        path = write_groups(tmp_path / "g.csv", GROUPS, label=column)
        with pytest.raises(UserError, match=r"g\.csv, line \d+: \w+ \d has the label"):
            with_lesion_groups(splits, path, "lesion_id")


def test_the_wrong_line_is_that_of_the_reading_that_fits_the_others(tmp_path: Path) -> None:
    labels = {"train": [0, 1, 2, 3, 4, 5], "val": [0, 5], "test": [3, 4]}
    splits = splits_of(labels, tuple("123456"))
    groups = {split: [f"{split}{k}" for k in own] for split, own in labels.items()}
    wrong = {s: [str(k + 1) for k in own] for s, own in labels.items()} | {"test": ["4", "6"]}
    path = write_groups(tmp_path / "g.csv", groups, label=wrong)
    with pytest.raises(UserError, match="line 11: test 1 has the label 6, but 5 in the data"):
        with_lesion_groups(splits, path, "lesion_id")


@pytest.mark.parametrize(
    ("spoil", "column", "message"),
    [
        (lambda text: None, "lesion_id", "is not a file: expected a CSV with the columns split"),
        (lambda text: text, "lesion", "no column lesion, dataset.group_column: did you mean 'les"),
        (lambda text: text.replace("split,", "part,"), "lesion_id", "no column split: expected"),
        (lambda text: text, "split", "group_column=split does not say which images belong"),
        (lambda text: "", "lesion_id", "begins with '': expected names of columns with commas"),
        (lambda text: text.replace("val,1,d", "val,2,d"), "lesion_id", "val has no image '2'"),
        (lambda text: text.replace("val,1,d", "val,-1,d"), "lesion_id", "has no image '-1'"),
        (lambda text: text.replace("val,1,d", "val,1.0,d"), "lesion_id", "expected a number from"),
        (lambda text: text.replace("val,1,d", "vall,1,d"), "lesion_id", "split 'vall' is unknown"),
        (lambda text: text.replace("val,1,d", "val,1,"), "lesion_id", "the lesion_id is empty"),
        (lambda text: text.replace("val,1,d", "val"), "lesion_id", "val has no image ''"),
        (lambda text: text + "val,1,d\n", "lesion_id", "line 13: val 1 is listed twice"),
        (
            lambda text: text.replace("val,1,d\n", "").replace("test,0,a\n", ""),
            "lesion_id",
            "lacks 2 of 11 images, the first being val 1: expected a row for each",
        ),
        (lambda text: b"\xff\xfe\x00", "lesion_id", "cannot be read as CSV"),
    ],
)
def test_bad_files_are_reported_in_one_line(
    spoil, column: str, message: str, tmp_path: Path
) -> None:
    path = Path(write_groups(tmp_path / "g.csv", GROUPS))
    content = spoil(path.read_text().replace("\r", ""))
    path.unlink()
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as error:
        with_lesion_groups(splits_of(LABELS), str(path), column)
    assert message in str(error.value)
    assert "g.csv" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.fixture
def many(tmp_path: Path) -> Splits:
    """600 images of three classes in lesions of one image to a few, all shuffled."""
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [400, 150, 50])
    sizes = np.concatenate([np.repeat((1, 2, 3), n) for n in (67, 65, 65)])
    lesions = np.resize(np.repeat(np.arange(len(sizes)), sizes), 600)
    names = np.char.add(labels.astype(str), np.char.add("-", lesions.astype(str)))
    order = generator.permutation(600)
    parts = {"train": order[:420], "val": order[420:480], "test": order[480:]}
    splits = splits_of({s: labels[own].tolist() for s, own in parts.items()}, ("a", "b", "c"))
    path = write_groups(tmp_path / "many.csv", {s: names[own] for s, own in parts.items()})
    return with_lesion_groups(splits, path, "lesion_id")


def resplit(splits: Splits, folds: int, fold: int) -> Splits:
    return grouped_split(pooled(splits), folds, fold)


def contents(*parts) -> Counter:
    """Pixels, label and group of each image."""
    return Counter(
        (image.tobytes(), int(label), str(group))
        for part in parts
        for image, label, group in zip(part.images, part.labels, part.lesion_groups, strict=True)
    )


def test_folds_keep_groups_whole_and_use_every_image(many: Splits) -> None:
    everything = contents(many.train, many.val, many.test)
    assert leaked(many).any()
    folds = [resplit(many, 5, fold) for fold in range(5)]
    assert sum((contents(fold.test) for fold in folds), Counter()) == everything
    for number, fold in enumerate(folds):
        assert contents(fold.train, fold.val, fold.test) == everything
        groups = [set(fold.lesion_groups(split)) for split in SPLITS]
        assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
        for split, share in (("test", 0.2), ("val", 0.1), ("train", 0.7)):
            counts = np.bincount(fold[split].labels, minlength=3)
            assert counts == pytest.approx(share * np.array([400, 150, 50]), abs=4), split
        assert fold.name == "Small, grouped by lesion_id"
        assert fold.record["split"] == {
            "kind": "grouped",
            "folds": 5,
            "fold": number,
            "pool_fingerprint": many.fingerprint,
        }
    assert len({fold.test_fingerprint for fold in folds}) == 5
    assert resplit(many, 5, 3).fingerprint == folds[3].fingerprint


def test_folds_are_the_same_for_images_in_another_order(many: Splits) -> None:
    """They follow from the groups' names and labels, not from where the images stood."""
    order = np.random.default_rng(1).permutation(len(many.train))
    train = replace(
        many.train,
        images=many.train.images[order],
        labels=many.train.labels[order],
        lesion_groups=many.train.lesion_groups[order],
    )
    assert contents(resplit(replace(many, train=train), 5, 2).test) == contents(
        resplit(many, 5, 2).test
    )


def test_folds_of_a_tiny_val_have_one_all_the_same(tmp_path: Path) -> None:
    labels = {"train": [0, 1] * 10, "val": [0], "test": [0, 1] * 5}
    groups = {split: [f"{split}{i}" for i in range(len(own))] for split, own in labels.items()}
    splits = splits_of(labels)
    splits = with_lesion_groups(splits, write_groups(tmp_path / "g.csv", groups), "lesion_id")
    fold = resplit(splits, 3, 0)
    assert (len(fold.train), len(fold.val), len(fold.test)) == (18, 2, 11)
    assert sorted(fold.val.labels) == [0, 1]


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        (6, "dataset.folds=6, but the number of lesion groups is 5"),
        (5, "dataset.folds=5, but the number of images of “melanoma” is 4"),
        (4, "fold 0 of 4 leaves too few lesion groups for a train and a val split"),
    ],
)
def test_too_many_folds_are_refused(folds: int, message: str, tmp_path: Path) -> None:
    labels = {"train": [0] * 8 + [1, 1], "val": [1], "test": [1]}
    groups = {"train": list("aabbccddee"), "val": ["e"], "test": ["a"]}
    splits = splits_of(labels)
    splits = with_lesion_groups(splits, write_groups(tmp_path / "g.csv", groups), "lesion_id")
    with pytest.raises(UserError, match=message):
        resplit(splits, folds, 0)


def test_a_class_that_cannot_be_in_each_split_is_noted(tmp_path: Path) -> None:
    labels = {"train": [0] * 30 + [1] * 4, "val": [0] * 4, "test": [0] * 6}
    groups = {s: [f"{s}{i}" for i in range(len(own))] for s, own in labels.items()}
    groups["train"][30:] = ["one"] * 4
    splits = with_lesion_groups(
        splits_of(labels), write_groups(tmp_path / "g.csv", groups), "lesion_id"
    )
    folds = [resplit(splits, 3, fold) for fold in range(3)]
    noted = {note.text.split(":")[0] for fold in folds for note in missing_classes(fold)}
    assert "train has no “melanoma”; val has no “melanoma”" in noted


def config(path: Path, **own: object):
    return OmegaConf.create(
        {"_target_": "dermaexp.data.npz.load", "path": str(path), "grayscale": True}
        | {"normalize": False}
        | own
    )


@pytest.fixture
def group_file(arrays: dict[str, np.ndarray], tmp_path: Path) -> str:
    """Of the small data file: two images a lesion; every fifth of test is in train, as by image."""
    groups = {
        split: [f"{split}{index // 2}" for index in range(len(arrays[f"{split}_labels"]))]
        for split in SPLITS
    }
    groups["test"][::5] = ["train1"] * 10
    labels = {split: arrays[f"{split}_labels"][:, 0].tolist() for split in SPLITS}
    return write_groups(tmp_path / "lesions.csv", groups, label=labels)


def test_a_sweep_over_folds_loads_the_file_once(
    data_file: Path, group_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []
    read = npz.read_arrays
    monkeypatch.setattr(npz, "read_arrays", lambda *given: loaded.append(given) or read(*given))
    monkeypatch.setattr(load, "_kept", {})
    own = {"groups": group_file, "split": "grouped", "folds": 3}
    folds = [load.load_splits(config(data_file, fold=fold, **own)) for fold in (0, 1, 2, 0)]
    assert len(loaded) == len(load._kept) == 1
    assert len({fold.test_fingerprint for fold in folds}) == 3
    assert {fold.record["split"]["pool_fingerprint"] for fold in folds} == {
        npz.load(str(data_file)).fingerprint
    }


def test_groups_for_synthetic_lesions_that_stand_in_are_refused(
    group_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file describes the photographs that are not available, and may well fit in number."""
    entry = dict(medmnist.INFO["dermamnist"]) | {"url": "http://127.0.0.1:9/derma.npz"}
    monkeypatch.setitem(medmnist.INFO, "dermamnist", entry)
    parts = [yaml.safe_load((CONF / file).read_text()) for file in BASE_AND_DERMAMNIST]
    source = {key: value for part in parts for key, value in part.items() if key != "defaults"}
    source |= {"root": str(tmp_path), "groups": group_file}
    with pytest.raises(UserError, match="does not belong to the synthetic lesions that stand in"):
        load.load_splits(OmegaConf.create(source))


def test_a_config_of_ones_own_needs_no_new_keys(data_file: Path) -> None:
    assert load.load_splits(config(data_file)).record["split"] == {"kind": "official"}


def test_every_dataset_can_have_groups_and_folds() -> None:
    files = sorted((CONF / "dataset").glob("*.yaml"))
    assert len(files) >= 5
    for file in files:
        first, *_ = yaml.safe_load(file.read_text())["defaults"]
        assert first == "/_dataset" or f"{first}.yaml" in {other.name for other in files}, file
    base = yaml.safe_load((CONF / "_dataset.yaml").read_text())
    how = asdict(How(split="official")) | {"shares": [*How().shares]}
    assert {key: base[key] for key in load.DIVISION} == how
    assert (base["groups"], base["group_column"]) == (None, GROUP_COLUMN)


def test_both_parts_of_test_add_up(small: Splits) -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4], [0.1, 0.9]])
    probabilities = probabilities.astype(np.float32)
    parts = run_leak_metrics(small.test.labels, probabilities, small)
    clean, shared = parts["test_clean"], parts["test_leaked"]
    assert (clean["samples"], shared["samples"]) == (2, 3)
    assert clean["accuracy"] == 0.5
    assert shared["accuracy"] == pytest.approx(2 / 3)
    assert clean["class_shares"] == {"benign": 0.0, "melanoma": 1.0}
    assert shared["class_shares"] == pytest.approx({"benign": 2 / 3, "melanoma": 1 / 3})
    # Train has as many of both classes: the first is the majority.
    assert (clean["majority_accuracy"], shared["majority_accuracy"]) == (0.0, pytest.approx(2 / 3))
    whole = classification.split_metrics(
        small.test.labels, probabilities, small.train.labels, small.classes
    )
    added = np.add(clean["confusion_matrix"], shared["confusion_matrix"])
    assert added.tolist() == whole["confusion_matrix"]

    data = small.record | {"classes": list(small.classes)}
    numbers = parts | {"test": whole, "data": data, "majority_class": "benign"}
    assert leak.reading(numbers) == (
        "Leaked: an image in train or val has the same lesion_id. Compare each with its own "
        "majority baseline, not the two with each other: “benign” are 66.7\N{NO-BREAK SPACE}% of "
        "the leaked images and 0.0\N{NO-BREAK SPACE}% of the clean ones, so that the leaked ones "
        "are the easier part."
    )
    assert list(leak.columns(numbers)) == [
        "clean, 2 images",
        "majority, clean",
        "leaked, 3 images",
        "majority, leaked",
    ]


def test_a_part_without_images(small: Splits) -> None:
    probabilities = np.full((5, 2), 0.5, np.float32)
    all_clean = replace(small, test=replace(small.test, lesion_groups=np.array(list("vwxyz"))))
    parts = run_leak_metrics(small.test.labels, probabilities, all_clean)
    assert parts["test_leaked"] is None
    assert parts["test_clean"]["samples"] == 5
    told = leak.reading(parts | {"data": small.record | {"classes": list(small.classes)}})
    assert told == "No test image has the lesion_id of an image in train or val."
    used = np.array([0, 3])
    parts = run_leak_metrics(small.test.labels[used], probabilities[used], small, used)
    assert [parts[half]["samples"] for half in ("test_clean", "test_leaked")] == [1, 1]
    assert run_leak_metrics(small.test.labels, probabilities, splits_of(LABELS)) == {}


@pytest.fixture
def run(cli: Cli, data_file: Path, group_file: str) -> Callable[..., int]:
    def start(*arguments: str) -> int:
        options = [f"dataset.path={data_file}", f"dataset.groups={group_file}", "trainer=cpu"]
        options += ["model=ffn", "dataset=npz", "epochs=1", *NO_FIGURES]
        return cli(*overridden(options, *arguments))

    return start


@pytest.mark.slow
def test_a_run_measures_clean_and_leaked(run, tmp_path: Path, capsys) -> None:
    assert run("hydra.run.dir=run", "report=true") == 0
    numbers = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert (numbers["test_clean"]["samples"], numbers["test_leaked"]["samples"]) == (40, 10)
    added = np.add(
        numbers["test_clean"]["confusion_matrix"], numbers["test_leaked"]["confusion_matrix"]
    )
    assert added.tolist() == numbers["test"]["confusion_matrix"]
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["data"]["groups"]["file"] == "lesions.csv"
    assert record["data"]["split"] == {"kind": "official"}
    shown = capsys.readouterr().out
    assert "clean, 40 images" in shown and "leaked, 10 images" in shown
    page = (tmp_path / "run" / "report.html").read_text()
    assert leak.reading(numbers) in page
    assert "<h2>Leak</h2>" in page


@pytest.mark.slow
def test_a_run_on_a_fold(run, tmp_path: Path) -> None:
    options = ["dataset.split=grouped", "dataset.folds=3", "dataset.fold=2", "report=true"]
    assert run("hydra.run.dir=run", *options) == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["data"]["name"] == "small, grouped by lesion_id"
    split = record["data"]["split"]
    assert (split["kind"], split["folds"], split["fold"]) == ("grouped", 3, 2)
    numbers = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert numbers["data"]["split"] == split
    assert "test_clean" not in numbers
    page = (tmp_path / "run" / "report.html").read_text()
    assert "fold 2 of 0 to 2" in page and "<h2>Leak</h2>" not in page


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["dataset.split=group"],
            "dataset.split=group: expected official, grouped",
        ),
        (["dataset.split=grouped", "dataset.groups=null"], "give dataset.groups=FILE"),
        (["dataset.fold=1"], "dataset.fold=1, but the official split has no folds"),
        (["dataset.folds=3"], "dataset.folds=3, but the official split has no folds"),
        (["dataset.split=grouped", "dataset.folds=1"], "folds=1: expected a whole number from 2"),
        (["dataset.split=grouped", "dataset.fold=-1"], "fold=-1: expected a whole number from 0"),
        (["dataset.split=grouped", "dataset.fold=5"], "expected a whole number from 0 to 4, for"),
        (["dataset.groups=3"], "dataset.groups=3: expected the path of a CSV file"),
        (["dataset.groups=null", "dataset.group_column=patient"], "no file with such a column"),
        (["dataset.group_column=label_id"], "no column label_id, dataset.group_column"),
    ],
)
def test_bad_values_are_reported_in_one_line(
    arguments: list[str], line: str, run, capsys: pytest.CaptureFixture
) -> None:
    assert run(*arguments) == 1
    errors = capsys.readouterr().err
    assert line in errors
    assert errors.count("\n") == 1, errors


@pytest.fixture(scope="module")
def real(real_data: Path, real_index: Path) -> Splits:
    splits = npz.load(str(real_data), classes="dermamnist", name="DermaMNIST (rebuilt)")
    return with_lesion_groups(splits, str(real_index), "lesion_id")


def test_leak_of_the_official_split(real: Splits) -> None:
    """693 of the 2,005 test images show a lesion of train, 773 one of train or val."""
    assert shares_lesion(real, "test", ["train"]).sum() == 693
    assert leaked(real).sum() == 773
    is_nevus = real.test.labels == real.classes.index("melanocytic nevi")
    assert is_nevus[leaked(real)].mean() == pytest.approx(0.505, abs=0.001)
    assert is_nevus[~leaked(real)].mean() == pytest.approx(0.772, abs=0.001)


@pytest.mark.slow
def test_folds_of_the_real_file(real: Splits) -> None:
    official = {split: np.bincount(real[split].labels) for split in SPLITS}
    tested = Counter()
    for number in range(5):
        fold = resplit(real, 5, number)
        groups = [set(fold.lesion_groups(split)) for split in SPLITS]
        assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
        assert sum(map(len, groups)) == 7470, "all lesions"
        for split in SPLITS:  # the class balance is that of the official split
            assert np.bincount(fold[split].labels) == pytest.approx(official[split], abs=2)
        assert fold.medmnist_flag is None
        tested += contents(fold.test)
    assert tested == contents(real.train, real.val, real.test)
    assert fold.title == "DermaMNIST (rebuilt), grouped by lesion_id"
