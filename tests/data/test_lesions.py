import hashlib

import numpy as np
import pytest

from dermaexp.data import lesions
from dermaexp.data.lesions import CLASS_COUNTS, CLASSES, generate_lesions, generate_splits

AKIEC, BCC, BKL, DF, MEL, NV, VASC = range(7)
EACH = 150


def sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


@pytest.fixture(scope="module")
def splits() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return generate_splits()


@pytest.fixture(scope="module")
def by_class() -> np.ndarray:
    """EACH images a class in [0, 1), shape (7, EACH, 28, 28, 3)."""
    images = generate_lesions(np.arange(7 * EACH) % 7, 28, seed=11)
    return images.reshape(EACH, 7, 28, 28, 3).swapaxes(0, 1) / 256.0


def test_splits_have_the_class_counts_of_dermamnist(splits):
    assert len(CLASSES) == 7
    assert {name: len(labels) for name, (_, labels) in splits.items()} == {
        "train": 7007,
        "val": 1003,
        "test": 2005,
    }
    for name, (images, labels) in splits.items():
        assert images.shape == (len(labels), 28, 28, 3)
        assert images.dtype == labels.dtype == np.uint8
        assert tuple(np.bincount(labels)) == CLASS_COUNTS[name]


def test_labels_are_shuffled(splits):
    for images, labels in splits.values():
        # Sorted labels change 6 times; 2 in 3 being nevi, shuffled ones change about half the time.
        assert np.count_nonzero(np.diff(labels)) > 0.4 * len(labels)
        assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)


@pytest.mark.parametrize(
    ("name", "images", "labels"),
    [
        (
            "train",
            "046036d1ea5ac06d253f97631eb0edbdfe32885dae62a8ad2a98a98e93760bdb",
            "4365a9f9ef70d189e033f973fdd181bf76ad8b765efe6b1cf792e4800ed61bf2",
        ),
        (
            "val",
            "90de50dee7c1667baebd61a0746584bfc946379d69853106d72674b8823207e6",
            "afd10c9251823ddb15bc8c3540f706aa6b82d4204e078d0222384ddda78311c4",
        ),
        (
            "test",
            "cfe002b86526ad9a01f8b373e2207ef663ac6746c7d080410356d2150133b957",
            "259f089a5b92c819ff0cf68e9717f0fe5916d8988d3f50f8713af391c4dc2b01",
        ),
    ],
)
def test_bytes_at_28_pixels_are_pinned(splits, name, images, labels):
    assert lesions.VERSION == 1, "new bytes need new pins"
    assert sha256(splits[name][0]) == images
    assert sha256(splits[name][1]) == labels


@pytest.mark.parametrize(
    ("size", "seed", "digest"),
    [
        (8, 0, "d7eee8c3d829b208c3376749a6fc3b03df35417b0fd8999f889091432143e262"),
        (33, 2**64 - 1, "c5a9aa3c9c123087e62e9d1da605dde2bb3c7348e4778027fc3e1cd5dc700fce"),
        (64, 7, "14d934d6f18987d25c8ac5a2b715a25dd2bef4eae182caf3d4704dc09f713c98"),
    ],
)
def test_bytes_at_other_sizes_are_pinned(size, seed, digest):
    images = generate_lesions(np.arange(300) % 7, size, seed)
    assert images.shape == (300, size, size, 3)
    assert images.dtype == np.uint8
    assert sha256(images) == digest


def test_threads_and_blocks_do_not_change_the_bytes(monkeypatch):
    labels = np.arange(600) % 7
    one = generate_lesions(labels, 20, seed=3, workers=1)
    assert np.array_equal(one, generate_lesions(labels, 20, seed=3, workers=2))
    monkeypatch.setattr(lesions, "PIXELS", 20 * 256 * 3)
    assert np.array_equal(one, generate_lesions(labels, 20, seed=3, workers=2))


def test_seed_and_stream_change_the_images():
    labels = np.full(20, NV)
    base = generate_lesions(labels, 16, seed=0)
    assert np.array_equal(base, generate_lesions(labels, 16, seed=0, stream=0))
    for other in (
        generate_lesions(labels, 16, seed=1),
        generate_lesions(labels, 16, seed=0, stream=1),
    ):
        assert all(not np.array_equal(a, b) for a, b in zip(base, other, strict=True))


def test_same_lesions_at_every_size():
    labels = np.arange(70) % 7
    small = generate_lesions(labels, 16, seed=4).astype(float)
    large = generate_lesions(labels, 48, seed=4).astype(float)
    shrunk = large.reshape(70, 16, 3, 16, 3, 3).mean(axis=(2, 4))
    assert np.abs(small - shrunk).mean() < 4.0
    assert np.abs(small - np.roll(shrunk, 1, axis=0)).mean() > 20.0


def test_no_images_of_no_labels():
    assert generate_lesions([], 28).shape == (0, 28, 28, 3)


@pytest.mark.parametrize(
    ("labels", "size", "seed", "message"),
    [
        ([7], 28, 0, "labels"),
        ([-1], 28, 0, "labels"),
        ([[1]], 28, 0, "labels"),
        ([1], 7, 0, "size"),
        ([1], 28, -1, "seed"),
    ],
)
def test_wrong_arguments_are_refused(labels, size, seed, message):
    with pytest.raises(ValueError, match=message):
        generate_lesions(labels, size, seed)


def luma(images: np.ndarray) -> np.ndarray:
    return images @ (0.299, 0.587, 0.114)


def darkness(images: np.ndarray) -> np.ndarray:
    """How much darker than the median of its image each pixel is, 0 in the vignetted corners.

    Lesions are darker, skin is not.
    """
    grey = luma(images)
    y, x = np.mgrid[:28, :28] - 13.5
    dark = np.maximum(np.median(grey, axis=(-2, -1), keepdims=True) - grey, 0.0)
    return dark * (np.hypot(y, x) < 14)


def offsets(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances down and right from the centroid of weight (..., 28, 28)."""
    y, x = np.mgrid[:28, :28]
    total = weight.sum(axis=(-2, -1), keepdims=True)
    return (
        y - (weight * y).sum(axis=(-2, -1), keepdims=True) / total,
        x - (weight * x).sum(axis=(-2, -1), keepdims=True) / total,
    )


def test_vascular_lesions_and_actinic_keratoses_are_redder(by_class):
    red, green, blue = np.moveaxis(by_class[:, :, 10:18, 10:18] + 1 / 256, -1, 0)
    redness = (red / green).mean(axis=(1, 2, 3))
    assert redness[VASC] > redness[NV] + 0.08
    assert redness[AKIEC] > redness[NV] + 0.12
    purple = (blue - green).mean(axis=(1, 2, 3))
    assert purple[VASC] > purple[NV] + 0.02


def test_melanomas_are_darkest(by_class):
    grey = luma(by_class)[:, :, 8:20, 8:20].mean(axis=(1, 2, 3))
    assert grey[MEL] < min(np.delete(grey, MEL)) - 0.06


def test_melanomas_have_a_veil_and_basal_cell_carcinomas_nests(by_class):
    blue = (by_class[..., 2] > 0.92 * by_class[..., 0]) & (darkness(by_class) > 0.05)
    share = blue.mean(axis=(1, 2, 3)) * 784
    assert share[NV] < 1.0  # pixels an image
    assert share[BCC] > share[NV] + 0.8
    assert share[MEL] > share[BCC] + 3.0


def test_dermatofibromas_are_pale_in_the_centre(by_class):
    y, x = offsets(darkness(by_class) ** 2)
    far = np.hypot(y, x)
    grey = luma(by_class)
    inner, ring = far < 2, (far > 3) & (far < 6)
    paler = (grey * inner).sum(axis=(2, 3)) / inner.sum(axis=(2, 3))
    paler -= (grey * ring).sum(axis=(2, 3)) / ring.sum(axis=(2, 3))
    paler = paler.mean(axis=1)
    assert paler[DF] > max(np.delete(paler, DF)) + 0.02


def test_melanomas_are_larger_and_more_asymmetric_than_nevi(by_class):
    lesion = (darkness(by_class) > 0.08).astype(float)
    lesion[..., 14, 14] = 1.0  # none is empty
    y, x = offsets(lesion)
    area = lesion.sum(axis=(2, 3))
    # Third moments: zero for every shape that half a turn leaves as it is.
    a = ((x**3 - 3 * x * y * y) * lesion).sum(axis=(2, 3))
    b = ((3 * x * x * y - y**3) * lesion).sum(axis=(2, 3))
    skew = np.median(np.hypot(a, b) / area**2.5, axis=1)
    assert skew[MEL] > 1.2 * skew[NV]
    area = area.mean(axis=1)
    assert area[MEL] > 1.3 * area[NV]


def test_benign_keratoses_have_bright_specks(by_class):
    grey = luma(by_class)
    around = sum(np.roll(grey, step, axis) for step in (-1, 1) for axis in (2, 3)) / 4
    specks = (grey - around > 0.10)[:, :, 6:22, 6:22].mean(axis=(1, 2, 3))
    assert specks[BKL] > 1.3 * max(np.delete(specks, BKL))
