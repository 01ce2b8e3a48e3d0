"""Image folders: classes, sizes, and the message when something is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dermaexp.core.errors import UserError
from dermaexp.data import folder

RED, GREEN = (200, 10, 20), (10, 200, 20)


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
    splits = folder.load(str(root), size=16)
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
    images = folder.load(str(tmp_path), size=20).test.images
    assert images.shape == (1, 20, 20, 3)
    assert images.max() == 0


def test_hidden_and_other_entries_are_left_out(root: Path) -> None:
    expected = folder.load(str(root), size=16).fingerprint
    (root / "train" / ".ipynb_checkpoints").mkdir()
    (root / "val" / ".cache").mkdir()
    (root / "train" / "red" / "._0.png").write_bytes(b"resource fork")
    (root / "train" / "red" / "folder.png").mkdir()
    (root / "train" / "red" / "gone.png").symlink_to(root / "nowhere.png")
    assert folder.load(str(root), size=16).fingerprint == expected


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: root.rename(root.parent / "gone"), "is not a folder"),
        (lambda root: (root / "val").rename(root / "valid"), "val has no class folders"),
        (lambda root: [f.unlink() for f in root.glob("test/*/*")], "test has no images"),
        (lambda root: (root / "train" / "blue").mkdir(), "blue has no images"),
        (lambda root: (root / "val" / "red").rename(root / "val" / "redd"), "did you mean 'red'?"),
        (lambda root: (root / "train/red/0.png").write_bytes(b"no png"), "0.png cannot be decoded"),
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
