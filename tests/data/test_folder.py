"""Image folders: classes, sizes, and the message when something is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dermaexp.core.errors import UserError
from dermaexp.data import folder, pictures
from dermaexp.data.division import split_up
from dermaexp.data.how import How
from dermaexp.data.splits import SPLITS, Splits

RED, GREEN = (200, 10, 20), (10, 200, 20)


def loaded(root: Path, size: int = 16, split: str | None = None, **own) -> Splits:
    return split_up(folder.load(str(root), size=size, **own), How(split))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes; files of other sizes, formats and modes."""
    root = tmp_path / "pictures"
    for split, samples in (("train", 3), ("val", 1), ("test", 2)):
        for name, color in (("red", RED), ("green", GREEN)):
            (root / split / name).mkdir(parents=True)
            for index in range(samples):
                suffix = ("png", "JPG", "jpeg")[index]
                image = Image.new("RGB", (30 + 10 * index, 40), color)
                image.save(root / split / name / f"{index}.{suffix}")
    (root / "train" / "red" / "notes.txt").write_text("not an image")
    return root


def test_folder_gives_resized_images(root: Path) -> None:
    splits = loaded(root)
    assert splits.name == "pictures"
    assert splits.classes == ("green", "red")
    assert splits.train.images.shape == (6, 16, 16, 3)
    assert splits.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert splits.val.labels.tolist() == [0, 1]
    for images, color in ((splits.train.images[:3], GREEN), (splits.train.images[3:], RED)):
        assert np.abs(images.astype(int) - color).max() <= 3  # JPEG is not exact


def test_the_centre_is_kept(tmp_path: Path) -> None:
    """A wide picture, white but for its black centre square, becomes all black."""
    picture = np.full((20, 60), 255, np.uint8)
    picture[:, 20:40] = 0
    for split in ("train", "val", "test"):
        (tmp_path / split / "a").mkdir(parents=True)
        Image.fromarray(picture).save(tmp_path / split / "a" / "1.png")
    images = loaded(tmp_path, size=20).test.images
    assert images.shape == (1, 20, 20, 3)
    assert images.max() == 0


def test_hidden_and_other_entries_are_left_out(root: Path) -> None:
    expected = loaded(root).fingerprint
    (root / "train" / ".ipynb_checkpoints").mkdir()
    (root / "val" / ".cache").mkdir()
    (root / "train" / "red" / "._0.png").write_bytes(b"resource fork")
    (root / "train" / "red" / "folder.png").mkdir()
    (root / "train" / "red" / "gone.png").symlink_to(root / "nowhere.png")
    (root / "train" / "red" / "again").symlink_to(root / "train" / "red")
    assert loaded(root).fingerprint == expected


def test_pictures_of_other_kinds_are_counted(root: Path) -> None:
    assert loaded(root).notes == ()
    for name in ("a.HEIC", "b.heic", "deeper/c.gif"):
        (root / "train" / "red" / name).parent.mkdir(exist_ok=True)
        (root / "train" / "red" / name).touch()
    (root / "val" / "red" / "._d.gif").touch()
    (note,) = loaded(root).notes
    assert "left out (1 .gif, 2 .heic): convert them to PNG" in note.text


def test_a_jpeg_may_be_called_jfif(root: Path) -> None:
    file = root / "train" / "red" / "1.JPG"
    before = loaded(root).fingerprint
    file.rename(file.with_suffix(".jfif"))
    assert loaded(root).fingerprint == before


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: root.rename(root.parent / "gone"), "is not a folder"),
        (
            lambda root: (root / "val").rename(root / "v"),
            "has test, train but no val: expected val or",
        ),
        (
            lambda root: (root / "v").mkdir() or (root / "dev").mkdir(),
            "has dev and val: expected one",
        ),
        (lambda root: (root / "test" / "a.png").touch(), "a.png is in no class folder: expected"),
        (lambda root: [f.unlink() for f in root.glob("test/*/*")], "test has no images"),
        (lambda root: (root / "train" / "blue").mkdir(), "blue has no images"),
        (lambda root: (root / "val" / "red").rename(root / "val" / "redd"), "did you mean 'red'?"),
        (
            lambda root: [(root / f"train/red/{n}").write_bytes(b"no") for n in ("0.png", "1.JPG")],
            "files that are no pictures (2): train/red/0.png cannot be decoded",
        ),
    ],
)
def test_folder_says_what_is_wrong(spoil, message: str, root: Path) -> None:
    spoil(root)
    with pytest.raises(UserError) as error:
        folder.load(str(root), size=16)
    assert message in str(error.value)


def test_a_truncated_picture_is_named(root: Path) -> None:
    file = root / "train" / "green" / "0.png"
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(noise).save(file)
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(UserError, match=r"green/0\.png cannot be decoded"):
        folder.load(str(root), size=16)


@pytest.mark.parametrize("size", [0, -3, 2.5, "big"])
def test_size_must_be_pixels(size: object, root: Path) -> None:
    with pytest.raises(UserError, match="expected a whole number of pixels from 1"):
        folder.load(str(root), size=size)


def test_val_has_other_names_and_classes_may_be_nested(root: Path) -> None:
    expected = loaded(root).fingerprint
    (root / "val").rename(root / "Validation")
    (root / "train/red/patient1").mkdir()
    (root / "train/red/0.png").rename(root / "train/red/patient1/0.png")
    (root / "train/red/1.JPG").rename(root / "train/red/patient1/1.JPG")
    assert loaded(root, name="pictures").train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    (root / "train/red/2.jpeg").rename(root / "train/red/patient1/2.jpeg")
    assert loaded(root).fingerprint == expected


def test_class_folders_without_splits_are_divided_at_random(tmp_path: Path) -> None:
    root = tmp_path / "all"
    for label, name in enumerate(("black", "white")):
        (root / name).mkdir(parents=True)
        for index in range(10):
            Image.new("L", (8, 8), 200 * label + index).save(root / name / f"{index}.png")
    splits = loaded(root)
    assert [len(splits[split]) for split in SPLITS] == [14, 2, 4]
    for split in SPLITS:
        assert (splits[split].images[:, 0, 0, 0] >= 200).tolist() == splits[split].labels.tolist()
    assert splits.name == "all, random split 0"
    assert "the data have no splits: 70% train" in splits.notes[-1].text
    with pytest.raises(
        UserError, match="split=official needs splits in the data, and all has none"
    ):
        loaded(root, split="official")


def test_bad_pictures_are_left_out_and_listed(root: Path) -> None:
    """The others keep their pixels, labels and place."""
    whole = loaded(root)
    (root / "train/green/1.JPG").write_bytes(b"")
    (root / "test/red/0.png").write_bytes(b"<html>")
    with pytest.raises(UserError, match=r"\(2\): train/green/1\.JPG has 0 bytes.*on_error=skip"):
        loaded(root)
    left = loaded(root, on_error="skip")
    assert left.train.labels.tolist() == [0, 0, 1, 1, 1]
    assert np.array_equal(left.train.images, np.delete(whole.train.images, 1, axis=0))
    assert np.array_equal(left.test.images, np.delete(whole.test.images, 2, axis=0))
    assert [text.split(" ")[0] for text in left.record["skipped"]] == [
        "train/green/1.JPG",
        "test/red/0.png",
    ]
    assert left.notes[-1].text.startswith("left out (dataset.on_error=skip), 2: train/green/1.JPG")


def test_pictures_are_decoded_once_by_their_content(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    decoded = []
    original = pictures.decoded
    monkeypatch.setattr(pictures, "decoded", lambda *own: decoded.append(own) or original(*own))
    first = loaded(root)
    assert len(decoded) == 12
    again = loaded(root)
    assert len(decoded) == 12
    assert again.fingerprint == first.fingerprint
    root.rename(root.parent / "moved")
    moved = root.parent / "moved"
    assert loaded(moved, name="pictures").fingerprint == first.fingerprint
    assert len(decoded) == 12, "the content is the same elsewhere"
    Image.new("RGB", (40, 40), (1, 2, 3)).save(moved / "val/red/0.png")
    changed = loaded(moved)
    assert changed.val.images[1, 0, 0].tolist() == [1, 2, 3]
    assert len(decoded) == 24
    loaded(moved, background="black")
    loaded(moved, size=8)
    assert len(decoded) == 48, "another background or size is another cache"


def test_a_cache_cut_short_is_made_anew_and_one_that_cannot_be_written_is_done_without(
    root: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (31, 31), (9, 9, 9)).save(root / "val/red/0.png")  # a cache of its own
    before = set(cache_folder.glob("**/*.npy"))
    first = loaded(root)
    (cache,) = set(cache_folder.glob("**/*.npy")) - before
    assert np.load(cache).shape == (12, 16, 16, 3)
    cache.write_bytes(cache.read_bytes()[:500])
    assert loaded(root).fingerprint == first.fingerprint
    assert np.load(cache).shape == (12, 16, 16, 3)
    cache.with_suffix(".json").write_text("")  # as a loss of power leaves it
    assert loaded(root).fingerprint == first.fingerprint
    (root / "nowhere").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(root / "nowhere"))
    assert loaded(root).fingerprint == first.fingerprint
