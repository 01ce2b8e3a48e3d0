"""Tables of labels: their formats, labels, pictures, splits, groups, and their faults."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from medmnist import INFO
from omegaconf import OmegaConf
from PIL import Image

from dermaexp.core.errors import UserError
from dermaexp.data import ham10000, table
from dermaexp.data.division import split_up
from dermaexp.data.found_files import FoundFiles
from dermaexp.data.how import How
from dermaexp.data.load import load_splits
from dermaexp.data.splits import SPLITS
from dermaexp.data.table_labels import labels_of

NAMES = ["akiec", "bcc", "bkl", "df", "nv", "vasc", "mel"]  # of Kaggle's pixel tables


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Eight gray pictures in two folders, each of its own level."""
    for index in range(8):
        file = tmp_path / f"part{index % 2}" / f"im{index}.{('png', 'JPG')[index % 2]}"
        file.parent.mkdir(exist_ok=True)
        Image.new("L", (6, 6), 30 * index).save(file)
    return tmp_path


def rows(**columns: list) -> pd.DataFrame:
    base = {"image": [f"im{k}" for k in range(8)], "label": ["b", "a"] * 4}
    return pd.DataFrame(base | columns)


def levels(images: np.ndarray) -> list[int]:
    """The number of the picture from its level."""
    return np.rint(images[:, 0, 0, 0] / 30).astype(int).tolist()


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_a_table_names_pictures_and_labels(suffix: str, pictures: Path) -> None:
    file = pictures / f"labels{suffix}"
    content = rows(part=["training", "Valid", "test", "test"] * 2, patient=[1, 2, 3, 3] * 2)
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
        content.to_parquet(file)
    else:
        content.to_csv(file, sep="\t" if suffix == ".tsv" else ",", index=False)
    pool = table.load(str(file), split_column="part", group_column="patient", size=4)
    assert pool.classes == ("a", "b")
    assert pool.labels.tolist() == [1, 0] * 4
    assert levels(pool.images[np.arange(8)]) == list(range(8))
    assert pool.own_split.tolist() == ["train", "val", "test", "test"] * 2
    assert pool.lesion_groups.tolist() == ["1", "2", "3", "3"] * 2
    splits = split_up(pool, How())
    assert levels(splits.val.images) == [1, 5]
    assert splits.name == "labels" and splits.record["groups"]["column"] == "patient"
    without_val = replace(pool, own_split=np.where(pool.own_split == "val", "test", pool.own_split))
    with pytest.raises(UserError, match="val of labels without an image: expected images in train"):
        split_up(without_val, How())


def test_pictures_are_found_with_and_without_suffix_in_several_folders(pictures: Path) -> None:
    names = ["im0.png", "im1.jpg", "part0/im2.png", "part1/im3", "im4.png", "im5", "im6", "im7"]
    rows(image=names).to_csv(pictures / "t.csv", index=False)
    folders = [str(pictures / "part1"), str(pictures / "part0")]
    for images in (None, folders):
        pool = table.load(str(pictures / "t.csv"), images=images, size=4)
        assert levels(pool.images[np.arange(8)]) == list(range(8))


def test_a_picture_of_another_folder_never_stands_in(tmp_path: Path) -> None:
    for folder, level in (("a", 10), ("b", 20)):
        (tmp_path / folder).mkdir()
        Image.new("L", (6, 6), level).save(tmp_path / folder / "1.png")
    found = FoundFiles([tmp_path / "a", tmp_path / "b"])
    a, b = [tmp_path / "a/1.png"], [tmp_path / "b/1.png"]
    assert [found.find(name) for name in ("1", "b/1.png", "data\\b\\1.jpg")] == [a, b, b]
    assert found.find("C:\\elsewhere\\1.png") == a
    (tmp_path / "c").mkdir()
    Image.new("L", (6, 6)).save(tmp_path / "c/2.png")
    below = FoundFiles([tmp_path])
    assert below.find("c/1.png") == below.find("old/c/1.png") == []
    assert below.find("/old/c/2.jpg") == [tmp_path / "c/2.png"]
    assert below.find("x" * 5000) == []


def test_tables_as_other_programs_write_them(pictures: Path) -> None:
    (pictures / "t.csv").write_text("image; label\n" + "".join(f"im{k};NA\n" for k in range(8)))
    assert table.load(str(pictures / "t.csv"), size=4).classes == ("NA",)
    pytest.importorskip("pyarrow")
    label = pd.array([1, 0, 0, 1, 0, 0, 1, None], dtype="Int64")
    rows(label=label).to_parquet(pictures / "t.parquet")
    with pytest.raises(UserError, match=r"rows without a label \(1\): im7"):
        table.load(str(pictures / "t.parquet"))
    rows(label=[["a"], ["b", "a"]] * 4).to_parquet(pictures / "t.parquet")
    pool = table.load(str(pictures / "t.parquet"), size=4)
    assert pool.labels.tolist() == [[1, 0], [1, 1]] * 4
    rows()[:0].to_parquet(pictures / "t.parquet")
    with pytest.raises(UserError, match="has no rows"):
        table.load(str(pictures / "t.parquet"))


def test_labels_may_be_numbers_columns_or_several() -> None:
    def of(column, names=None, **columns):
        text = pd.DataFrame(columns).astype(str)
        return labels_of(text, column, names, Path("t.csv"))

    numbers = of("y", y=["10", "9", "10"])
    assert (numbers.classes, numbers.values.tolist()) == (("9", "10"), [1, 0, 1])
    named = of("y", ["nine", "ten"], y=["1.0", "0.0", ""])
    assert (named.classes, named.values.tolist()) == (("nine", "ten"), [1, 0, -1])
    assert named.missing.tolist() == [False, False, True]
    mapped = of("y", {"m": "mel", "n": "nevus"}, y=["n", "m", "n"])
    assert (mapped.classes, mapped.values.tolist()) == (("mel", "nevus"), [1, 0, 1])
    reordered = of("y", [10, 9], y=["10", "9", "10"])
    assert (reordered.classes, reordered.values.tolist()) == (("10", "9"), [0, 1, 0])
    merged = of("y", {"m": "bad", "b": "bad", "n": "good"}, y=["n", "m", "b"])
    assert (merged.classes, merged.values.tolist()) == (("bad", "good"), [1, 0, 0])
    one_hot = of(["M", "N"], M=[1.0, 0.0, 0.0], N=[0, 1, 1])
    assert (one_hot.classes, one_hot.values.tolist()) == (("M", "N"), [0, 1, 1])
    wider = of(["M", "N"], ["N", "O", "M"], M=["true", "false"], N=["False", "True"])
    assert (wider.classes, wider.values.tolist()) == (("N", "O", "M"), [2, 0])
    several = of(["M", "N"], M=[1, 0, 0], N=[1, 0, 1])
    assert several.values.tolist() == [[1, 1], [0, 0], [0, 1]]
    cells = of("y", y=["b|a", "a", "c | a"])
    assert (cells.classes, cells.values.tolist()) == (
        ("a", "b", "c"),
        [[1, 1, 0], [1, 0, 0], [1, 0, 1]],
    )


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            {"label_column": "labels"},
            "has no column labels, dataset.label_column: did you mean 'label",
        ),
        ({"image_column": "file"}, "has no column file, dataset.image_column"),
        ({"classes": ["a", "c"]}, "the label b is not in dataset.classes"),
        ({"classes": "dermamnist"}, "dataset.classes=dermamnist: expected [NAME, …] in the order"),
        ({"label_column": ["label", "label"]}, "expected a column, or several of 0 and 1, each"),
        ({"images": "nowhere"}, "nowhere is not a folder: expected one with pictures"),
        ({"label_column": ["label", "image"]}, "the column label holds b: expected 0 or 1"),
        ({"split_column": "label"}, "the split b is unknown: expected one of train, training"),
        ({"background": "whyte"}, "dataset.background=whyte: expected a colour such as white"),
        ({"on_error": "go"}, "dataset.on_error=go: expected stop or skip"),
    ],
)
def test_options_that_do_not_fit(given: dict, line: str, pictures: Path) -> None:
    rows().to_csv(pictures / "t.csv", index=False)
    with pytest.raises(UserError, match=re.escape(line)):
        table.load(str(pictures / "t.csv"), **given)


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("gone.csv", None, "gone.csv is not a file: expected a .csv, .tsv or .parquet"),
        ("t.xlsx", b"", "t.xlsx: expected a .csv, .tsv or .parquet file"),
        ("t.csv", b"", "cannot be read as a table: No columns to parse"),
        ("t.csv", b"image,label\n", "has no rows: expected one for each image"),
        ("t.csv", b"\xff\xfe\x00\x01", "cannot be read as a table"),
    ],
)
def test_files_that_are_no_tables(
    name: str, content: bytes | None, line: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=re.escape(line)):
        table.load(str(tmp_path / name))


@pytest.mark.parametrize(
    "header", ["image,label,label", "image,label, label ", '"image","label",label']
)
def test_a_column_that_is_there_twice(pictures: Path, header: str) -> None:
    (pictures / "t.csv").write_text(f"{header}\nim0,a,b\nim1,b,a\n")
    with pytest.raises(UserError, match="2 columns label, dataset"):
        table.load(str(pictures / "t.csv"))


def test_columns_that_are_not_asked_for_may_be_there_twice(pictures: Path) -> None:
    plain = rows()
    plain.to_csv(pictures / "t.csv", index=False)
    expected = table.load(str(pictures / "t.csv")).labels
    plain.insert(0, "note", "x")
    plain.insert(0, "note", "y", allow_duplicates=True)
    plain.insert(0, "", range(len(plain)))
    plain.to_csv(pictures / "t.csv", index=False)
    assert table.load(str(pictures / "t.csv")).labels.tolist() == expected.tolist()


def test_all_faults_are_counted_and_named_or_left_out(pictures: Path) -> None:
    names = [f"im{k}" for k in range(8)] + ["im9", "", "im2", "im3", "im4"]
    labels = ["a", "b", "a", "b", "a", "b", "", "c", "a", "a", "a", "a", "a"]
    file = pictures / "t.csv"
    pd.DataFrame({"image": names, "label": labels}).to_csv(file, index=False)
    with pytest.raises(UserError) as error:
        table.load(str(file))
    for part in (
        "rows without an image (1): row 10",
        "missing pictures (1): im9",
        "rows without a label (1): im6",
        "images listed twice (4): im2, im3 (with other labels), im3 (with other labels), im4",
        "labels seen once (1): im7 (“c”)",
        "dataset.on_error=skip",
    ):
        assert part in str(error.value)
    assert "\n" not in str(error.value)
    (pictures / "part0/im0.png").write_bytes(b"")
    pool = table.load(str(file), on_error="skip", size=4)
    assert levels(pool.images[np.arange(len(pool))]) == [1, 2, 4, 5]
    assert pool.labels.tolist() == [1, 0, 0, 1]
    assert len(pool.skipped) == 9
    assert "im6: rows without a label" in pool.skipped


def test_a_name_of_several_pictures_is_a_fault(pictures: Path) -> None:
    (pictures / "part0/deeper").mkdir()
    Image.new("L", (6, 6)).save(pictures / "part0/deeper/im0.png")
    rows().to_csv(pictures / "t.csv", index=False)
    with pytest.raises(UserError, match=r"names that several pictures have \(1\): im0"):
        table.load(str(pictures / "t.csv"), images=str(pictures))
    rows(image=["deeper/im0", *[f"im{k}" for k in range(1, 8)]]).to_csv(
        pictures / "t.csv", index=False
    )
    pool = table.load(str(pictures / "t.csv"), images=str(pictures), size=4)
    assert levels(pool.images[np.arange(2)]) == [0, 1]


def test_kaggles_pixel_tables_have_an_order_of_their_own(tmp_path: Path) -> None:
    """akiec bcc bkl df nv vasc mel there; the preset puts them into DermaMNIST's."""
    from hydra import compose, initialize_config_dir

    pixels = np.random.default_rng(0).integers(0, 256, (21, 8, 8, 3))
    content = pd.DataFrame(pixels.reshape(21, -1)).rename(columns="pixel{:04d}".format)
    content["label"] = [*range(7)] * 3
    content.to_csv(tmp_path / "hmnist_8_8_RGB.csv", index=False)
    conf = str(Path(__file__).resolve().parents[2] / "conf")
    with initialize_config_dir(conf, version_base="1.3"):
        overrides = ["dataset=ham10000_pixels", f"dataset.table={tmp_path}/hmnist_8_8_RGB.csv"]
        config = compose("config", [*overrides, "dataset.shares=[0.4,0.3,0.3]"])
    splits = load_splits(config.dataset)
    assert list(splits.classes) == list(INFO["dermamnist"]["label"].values())
    short = {name: label for label, name in enumerate(ham10000.CLASSES)}
    for split in SPLITS:
        for image, label in zip(splits[split].images, splits[split].labels, strict=True):
            row = int(np.flatnonzero((pixels == image).all(axis=(1, 2, 3)))[0])
            assert label == short[NAMES[row % 7]]
    with pytest.raises(UserError, match=r"size=28, but hmnist_8_8_RGB\.csv holds pictures of 8 x"):
        table.load(str(tmp_path / "hmnist_8_8_RGB.csv"), size=28)
    labels = content.pop("label").astype(object)
    flawed = pd.concat([content, labels.to_frame().assign(age=[None, 3] * 10 + [4])], axis=1)
    flawed.loc[[4, 7], "label"] = [None, "None"]
    flawed.to_csv(tmp_path / "hmnist_8_8_RGB.csv", index=False)
    with pytest.raises(UserError, match=r"without a label \(1\): row 5; labels seen once \(1\)"):
        table.load(str(tmp_path / "hmnist_8_8_RGB.csv"))
    pool = table.load(str(tmp_path / "hmnist_8_8_RGB.csv"), on_error="skip")
    assert np.array_equal(pool.images[np.arange(19)], np.delete(pixels, [4, 7], axis=0))
    assert pool.labels.tolist() == np.delete([*range(7)] * 3, [4, 7]).tolist()
    content["pixel0000"], content["label"] = 256, 0
    content.to_csv(tmp_path / "hmnist_8_8_RGB.csv", index=False)
    with pytest.raises(UserError, match="expected whole numbers from 0 to 255"):
        table.load(str(tmp_path / "hmnist_8_8_RGB.csv"))


def test_ham10000_is_found_as_it_is_downloaded(real_data: Path, tmp_path: Path) -> None:
    root = real_data.parent / "ham_sample"
    if not root.is_dir():
        pytest.skip(f"{root} is missing")
    pool = ham10000.load(str(root), size=28)
    metadata = pd.read_csv(root / "HAM10000_metadata.csv")
    assert len(pool) == len(metadata) == 280
    assert list(pool.classes) == list(INFO["dermamnist"]["label"].values())
    assert np.bincount(pool.labels).tolist() == [40] * 7
    assert pool.lesion_groups.tolist() == metadata["lesion_id"].tolist()
    row = 123
    name = f"{metadata['image_id'][row]}.jpg"
    (file,) = root.glob(f"*/{name}")
    with Image.open(file) as image:
        image = image.convert("RGB").resize((37, 28), Image.Resampling.BILINEAR)
    difference = np.asarray(image)[:, 4:32].astype(int) - pool.images[np.array([row])][0]
    assert np.abs(difference).mean() < 6
    splits = split_up(pool, How())
    groups = [set(splits.lesion_groups(split)) for split in SPLITS]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])

    # Kaggle's archive: both folders twice, with other case; or one folder of all pictures.
    kaggle = tmp_path / "kaggle"
    kaggle.mkdir()
    for part in (1, 2):
        for folder in ("HAM10000_images_part", "ham10000_images_part"):
            (kaggle / f"{folder}_{part}").symlink_to(root / f"HAM10000_images_part_{part}")
    (kaggle / "HAM10000_metadata.csv").symlink_to(root / "HAM10000_metadata.csv")
    assert ham10000.load(str(kaggle), size=28).fingerprint == pool.fingerprint
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty has no HAM10000_metadata\.csv"):
        ham10000.load(str(tmp_path / "empty"), size=28)


def test_groups_of_a_table_are_in_the_table() -> None:
    config = OmegaConf.create(
        {"_target_": "dermaexp.data.table.load", "table": "t.csv", "groups": "g.csv"}
        | {"grayscale": True, "normalize": False}
    )
    with pytest.raises(UserError, match=r"groups does not go with a table.*group_column=COLUMN"):
        load_splits(config)
