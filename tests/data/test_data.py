"""Splits, npz files, batches: right on good input, one clear line on bad."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dermaexp.core.errors import UserError
from dermaexp.data import npz, synthetic
from dermaexp.data.batches import Batches
from dermaexp.data.datamodule import ImageDataModule, as_floats
from dermaexp.data.gray import luma
from dermaexp.data.sample import _allotted, spread
from dermaexp.data.splits import checked_splits

Arrays = dict[str, np.ndarray]


def write(path: Path, arrays: Arrays) -> str:
    np.savez(path, **arrays)
    return str(path)


def test_npz_gives_what_is_in_the_file(arrays: Arrays, data_file: Path) -> None:
    splits = npz.load(str(data_file), classes=["a", "b", "c"])
    assert splits.name == "small"
    assert splits.classes == ("a", "b", "c")
    assert not splits.synthetic
    for split in ("train", "val", "test"):
        np.testing.assert_array_equal(splits[split].images, arrays[f"{split}_images"])
        np.testing.assert_array_equal(splits[split].labels, arrays[f"{split}_labels"][:, 0])
        assert splits[split].labels.dtype == np.int64


def test_npz_class_names(data_file: Path, arrays: Arrays, tmp_path: Path) -> None:
    assert npz.load(str(data_file)).classes == ("class 0", "class 1", "class 2")
    assert npz.load(str(data_file), classes="dermamnist").classes[4] == "melanoma"
    gray = write(
        tmp_path / "gray.npz", {k: v[..., 0] if v.ndim == 4 else v for k, v in arrays.items()}
    )
    assert npz.load(gray).train.images.shape == (120, 12, 12, 1)


def test_fingerprint_follows_the_content(arrays: Arrays, data_file: Path, tmp_path: Path) -> None:
    first = npz.load(str(data_file)).fingerprint
    assert npz.load(write(tmp_path / "copy.npz", arrays)).fingerprint == first
    assert npz.load(str(data_file), classes=["a", "b", "c"]).fingerprint != first
    for key, at in (("train_images", (0, 0, 0, 0)), ("test_labels", (0, 0))):
        changed = {name: array.copy() for name, array in arrays.items()}
        changed[key][at] ^= 1
        assert npz.load(write(tmp_path / f"{key}.npz", changed)).fingerprint != first


def spoil(arrays: Arrays, **changes: np.ndarray | None) -> Arrays:
    return {k: v for k, v in {**arrays, **changes}.items() if v is not None}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: {"val_labels": None}, "lacks val_labels: expected train_images, "),
        (lambda a: {"train_labels": a["train_labels"][:-1]}, "120 images but 119 labels"),
        (
            lambda a: {"test_labels": a["test_labels"] + 9},
            "test has the label 11, but the training",
        ),
        (
            lambda a: {"test_labels": a["test_labels"].astype(np.int8) - 1},
            "label -1 is out of range, expected 0 to 2",
        ),
        (
            lambda a: {"val_images": a["val_images"][:0], "val_labels": a["val_labels"][:0]},
            "is empty: expected at least one image",
        ),
        (
            lambda a: {"train_images": a["train_images"] / 255.0},
            "images are float64, uint8 from 0 to 209: expected uint8",
        ),
        (
            lambda a: {"train_images": a["train_images"][..., :2]},
            "images are uint8 (120, 12, 12, 2)",
        ),
        (lambda a: {"train_labels": np.ones((120, 4), int)}, "the splits' labels differ in shape"),
        (
            lambda a: {"train_labels": np.full((120, 3), 2)},
            "labels in several columns hold 2: expected 0 or 1",
        ),
        (lambda a: {"train_labels": np.ones(120)}, "labels are float64, expected integers"),
        (lambda a: {"test_images": a["test_images"][:, :6]}, "the splits' images differ in shape"),
        (lambda a: {"train_labels": np.array(["a", None])}, "Python objects, which could run"),
    ],
)
def test_npz_says_what_is_wrong(change, message: str, arrays: Arrays, tmp_path: Path) -> None:
    path = write(tmp_path / "bad.npz", spoil(arrays, **change(arrays)))
    with pytest.raises(UserError) as error:
        npz.load(path)
    assert message in str(error.value)
    assert "bad.npz" in str(error.value)
    assert "\n" not in str(error.value)


def one_hot(labels: np.ndarray) -> np.ndarray:
    return np.eye(3, dtype=np.uint8)[labels[:, 0]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda images, labels: ((images / 255).astype(np.float32), labels),
            "images of float32 from 0 to 1 scaled to 0 to 255",
        ),
        (lambda images, labels: (images.astype(float), labels), "from 0 to 255 made uint8"),
        (lambda images, labels: (np.moveaxis(images, 3, 1), labels), "channels moved from first"),
        (lambda images, labels: (images, one_hot(labels)), "one-hot labels made numbers"),
        (lambda images, labels: (images, one_hot(labels).astype(float)), "whole numbers; one-hot"),
        (
            lambda images, labels: (images, np.array(["nv", "bcc", "mel"])[labels]),
            "text labels numbered in the order nv, bcc, mel",
        ),
    ],
)
def test_npz_of_other_conventions(change, said: str, arrays: Arrays, tmp_path: Path) -> None:
    """They have one meaning: the content is that of MedMNIST's format, under others' keys too."""
    other = {}
    for split in ("train", "val", "test"):
        images, labels = change(arrays[f"{split}_images"], arrays[f"{split}_labels"])
        other |= {f"x_{split}": images, f"Y_{split}": labels}
    names = ["nv", "bcc", "mel"]
    splits = npz.load(write(tmp_path / "other.npz", other), classes=names)
    expected = npz.load(write(tmp_path / "own.npz", arrays), classes=names)
    assert splits.fingerprint == expected.fingerprint
    assert [said in note.text for note in splits.notes] == [True]
    assert expected.notes == ()


def test_npz_text_labels_name_the_classes(arrays: Arrays, tmp_path: Path) -> None:
    words = {
        key: np.array(["nv", "bcc", "mel"])[value] if key.endswith("labels") else value
        for key, value in arrays.items()
    }
    splits = npz.load(write(tmp_path / "words.npz", words))
    assert splits.classes == ("bcc", "mel", "nv")
    expected = np.array([2, 0, 1])[arrays["val_labels"][:, 0]]
    assert splits.val.labels.tolist() == expected.tolist()
    words["test_labels"][0] = "ml"
    with pytest.raises(UserError, match="test has the label ml, which is not in train: did you"):
        npz.load(write(tmp_path / "words.npz", words))


def test_images_of_no_one_meaning_are_refused(arrays: Arrays, tmp_path: Path) -> None:
    standardised = {
        key: value / 100 - 1 if key.endswith("images") else value for key, value in arrays.items()
    }
    with pytest.raises(UserError, match=r"images are float64 from -1 to .* expected uint8, or num"):
        npz.load(write(tmp_path / "z.npz", standardised))


def test_gray_images_may_have_three_channels(arrays: Arrays) -> None:
    gray = {k: v[..., :1] if v.ndim == 4 else v for k, v in arrays.items()}
    data, repeated = (datamodule(gray, channels=channels) for channels in (None, 3))
    assert (data.image_shape, repeated.image_shape) == ((1, 12, 12), (3, 12, 12))
    images, *_ = repeated.images["train"][torch.arange(5)]
    assert as_floats(images).stride() == (3 * 144, 144, 12, 1)
    assert torch.equal(images, data.images["train"][torch.arange(5)][0].repeat(1, 3, 1, 1))
    assert torch.equal(
        datamodule(arrays, channels=3).images["val"][torch.arange(2)][0][0, 0],
        torch.from_numpy(arrays["val_images"][0, :, :, 0]),
    )


def test_npz_refuses_other_files(data_file: Path, tmp_path: Path) -> None:
    whole = data_file.read_bytes()
    files = {
        "missing.npz": None,
        "empty.npz": b"",
        "page.npz": b"<html>not found</html>",
        "truncated.npz": whole[: len(whole) // 2],
        "flipped.npz": whole[:3000] + bytes(reversed(whole[3000:3400])) + whole[3400:],
    }
    for name, content in files.items():
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UserError, match=name) as error:
            npz.load(str(path))
        assert "pickle" not in str(error.value), "NumPy's advice to load it unsafely"
    np.save(tmp_path / "single.npy", np.zeros(3))
    with pytest.raises(UserError, match="is a single array"):
        npz.load(str(tmp_path / "single.npy"))
    with pytest.raises(UserError, match="is not a file"):
        npz.load(str(tmp_path))
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(UserError, match=r"found readme\.txt"):
        npz.load(str(tmp_path / "other.zip"))


def test_labels_with_a_gap_need_names(arrays: Arrays, tmp_path: Path) -> None:
    """An oversight such as labels from 1, or a label of 2,000,000,000, makes no huge model."""
    for label in (3, 2_000_000_000):
        labels = np.where(arrays["train_labels"] == 0, label, arrays["train_labels"].astype(int))
        path = write(tmp_path / f"{label}.npz", {**arrays, "train_labels": labels})
        with pytest.raises(UserError, match=rf"labels are 1, 2, {label}: expected 0, 1, 2"):
            npz.load(path)


@pytest.mark.slow
def test_synthetic_images_stay_synthetic_as_a_file(cache_folder: Path) -> None:
    drawn = synthetic.load(size=8, seed=1)
    (file,) = (cache_folder / "dermaexp").glob("synthetic_*_8px_seed1.npz")
    again = npz.load(str(file), classes="dermamnist", name="My data")
    assert again.title == "My data (SYNTHETIC DATA)"
    assert again.fingerprint == drawn.fingerprint
    file.write_bytes(b"damaged")
    assert synthetic.load(size=8, seed=1).fingerprint == drawn.fingerprint


def test_npz_never_unpickles(tmp_path: Path, arrays: Arrays) -> None:
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple:
            return Path.touch, (marker,)

    evil = np.empty(120, dtype=object)
    evil[:] = [Evil() for _ in evil]
    path = write(tmp_path / "evil.npz", {**arrays, "train_images": evil})
    with pytest.raises(UserError):
        npz.load(path)
    assert not marker.exists()


def test_unknown_flag_for_class_names(data_file: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'dermamnist'"):
        npz.load(str(data_file), classes="dermamist")


def test_images_are_allotted_as_if_all_were_compared() -> None:
    generator = np.random.default_rng(0)
    for _ in range(300):
        counts = (10 ** generator.uniform(0, 4, generator.integers(1, 20))).astype(int)
        size = int(generator.integers(0, counts.sum()))
        classes = np.repeat(np.arange(len(counts)), counts)
        before = np.concatenate([np.arange(count) for count in counts])
        with np.errstate(divide="ignore"):
            rank = counts[classes] / np.sqrt(before * (before + 1.0))
        best = np.lexsort((classes, -counts[classes], -rank))[:size]
        expected = np.bincount(classes[best], minlength=len(counts))
        np.testing.assert_array_equal(_allotted(counts, size), expected)


def test_luma_is_pils() -> None:
    generator = np.random.default_rng(0)
    corners = np.stack(np.meshgrid(*[[0, 1, 127, 128, 254, 255]] * 3), axis=-1).reshape(1, 6, 36, 3)
    for images in (corners.astype(np.uint8), generator.integers(0, 256, (300, 9, 7, 3), np.uint8)):
        expected = [np.asarray(Image.fromarray(image).convert("L")) for image in images]
        np.testing.assert_array_equal(luma(images)[..., 0], expected)


def datamodule(arrays: Arrays, **options) -> ImageDataModule:
    pairs = {s: (arrays[f"{s}_images"], arrays[f"{s}_labels"]) for s in ("train", "val", "test")}
    splits = checked_splits("small", ("a", "b", "c"), pairs, origin="memory")
    return ImageDataModule(splits, **({"batch_size": 32, "grayscale": False, "seed": 0} | options))


def test_a_batch_is_an_index_into_uint8_tensors(arrays: Arrays) -> None:
    data = datamodule(arrays)
    seen = []
    for images, labels, indices in data.train_dataloader():
        assert images.dtype == torch.uint8
        assert as_floats(images).stride() == (3 * 144, 144, 12, 1)
        expected = arrays["train_images"][indices].transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(images, expected)
        np.testing.assert_array_equal(labels, arrays["train_labels"][indices, 0])
        seen += indices.tolist()
    assert sorted(seen) == list(range(120))
    assert seen != list(range(120)), "train is shuffled"
    order = torch.cat([indices for _, _, indices in data.test_dataloader()])
    assert order.tolist() == list(range(50)), "test is not"


def test_grayscale_and_shape(arrays: Arrays) -> None:
    assert datamodule(arrays).image_shape == (3, 12, 12)
    gray = datamodule(arrays, grayscale=True)
    batch, _, _ = next(iter(gray.val_dataloader()))
    assert as_floats(batch).stride() == (144, 144, 12, 1)
    assert gray.image_shape == (1, 12, 12)
    np.testing.assert_array_equal(
        gray.images["val"].images[..., 0], luma(arrays["val_images"])[..., 0]
    )
    already = {k: luma(v) if k.endswith("images") else v for k, v in arrays.items()}
    assert datamodule(already, grayscale=False).image_shape == (1, 12, 12)
    assert datamodule(already, grayscale=True).image_shape == (1, 12, 12)


def test_channel_statistics_are_the_training_sets(arrays: Arrays) -> None:
    mean, std = datamodule(arrays).channel_statistics()
    scaled = arrays["train_images"] / 255.0
    assert mean.numpy() == pytest.approx(scaled.mean(axis=(0, 1, 2)), rel=1e-6)
    assert std.numpy() == pytest.approx(scaled.std(axis=(0, 1, 2)), rel=1e-6)


def test_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        batches = Batches(100, 16, seed=seed)
        batches.set_epoch(epoch)
        return torch.cat(list(batches)).tolist()

    assert order(0, 3) == order(0, 3)
    orders = [order(seed, epoch) for seed in range(3) for epoch in range(3)]
    assert len({tuple(one) for one in orders}) == 9
    assert all(sorted(one) == list(range(100)) for one in orders)


@pytest.mark.parametrize("is_sorted", [True, False])
def test_a_part_stands_for_its_split(is_sorted: bool) -> None:
    """Every class, each in its share, evenly over the split; in order and always the same."""
    labels = np.repeat([0, 1, 2, 3], [700, 200, 97, 3])
    if not is_sorted:
        labels = np.random.default_rng(1).permutation(labels)
    for size in (4, 5, 32, 100, 999, 1000, 2000):
        part = spread(labels, size)
        assert len(part) == min(size, 1000)
        assert np.all(np.diff(part) > 0)
        np.testing.assert_array_equal(part, spread(labels, size))
        counts = np.bincount(labels[part], minlength=4)
        assert counts.min() >= 1
        fair = np.array([0.7, 0.2, 0.097, 0.003]) * len(part)
        assert np.all(np.abs(counts - np.maximum(fair, 1)) < 2)
    largest = np.flatnonzero(labels == 0)
    gaps = np.diff(np.searchsorted(largest, [i for i in spread(labels, 100) if labels[i] == 0]))
    assert gaps.max() - gaps.min() <= 1
    assert labels[spread(labels, 2)].tolist() in ([0, 1], [1, 0]), "the largest classes first"


def test_limits_are_numbers_of_batches_or_shares(arrays: Arrays) -> None:
    """The same images for every batch size and every number of processes, if they are as many."""
    limits = {"train": 2, "val": 0.25, "test": 100}
    small = datamodule(arrays, limits=limits, batch_size=4)
    large = datamodule(arrays, limits=limits | {"train": 1}, batch_size=8)
    assert {split: len(used) for split, used in small.used.items()} == {
        "train": 8,
        "val": 10,
        "test": 50,
    }
    for split in ("train", "val", "test"):
        np.testing.assert_array_equal(small.used[split], large.used[split])
        shares = [list(small.batches(split, process=p, processes=2)) for p in range(2)]
        seen = sorted(torch.cat([indices for share in shares for indices in share]).tolist())
        assert seen == small.used[split].tolist()
    loaded = torch.cat([indices for _, _, indices in small.val_dataloader()])
    assert loaded.tolist() == small.used["val"].tolist(), "in the split's order"
    balanced = datamodule(arrays, limits=limits, batch_size=4, balance=1.0)
    drawn = torch.cat([indices for _, _, indices in balanced.train_dataloader()])
    assert set(drawn.tolist()) <= set(balanced.used["train"].tolist())


def test_no_batch_has_a_single_sample() -> None:
    """Batch normalisation knows no variance of one."""
    sizes = {samples: [len(batch) for batch in Batches(samples, 4)] for samples in (8, 9, 10, 1)}
    assert sizes == {8: [4, 4], 9: [4, 5], 10: [4, 4, 2], 1: [1]}


@pytest.mark.parametrize("processes", [1, 2, 3, 4])
@pytest.mark.parametrize("samples", [1, 2, 63, 64, 65, 66, 130])
def test_processes_share_every_sample_once(samples: int, processes: int) -> None:
    """As many batches for each process, and the same samples in each global batch as for one."""
    shares = [
        list(Batches(samples, 64, seed=5, process=process, processes=processes))
        for process in range(processes)
    ]
    assert len({len(share) for share in shares}) == 1
    assert len(shares[0]) == len(Batches(samples, 64, process=0, processes=processes))
    seen = torch.cat([indices for share in shares for indices in share]).tolist()
    assert sorted(seen) == list(range(samples))
    if samples >= processes:
        assert all(len(indices) for share in shares for indices in share)
    alone = list(Batches(samples, 64, seed=5))
    if len(alone) == len(shares[0]):
        for step, batch in enumerate(alone):
            together = torch.cat([share[step] for share in shares])
            assert sorted(together.tolist()) == sorted(batch.tolist())
