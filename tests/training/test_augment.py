import math

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform

from dermaexp.core.errors import UserError
from dermaexp.training import augment, tta
from dermaexp.training.augment import Augment


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def images(count=6, height=8, width=8):
    return torch.rand(count, 3, height, width)


def test_random_dihedral_takes_each_view_of_each_image_equally_often():
    image = images(1)
    seen = tta.dihedral(image)
    drawn = augment.random_dihedral(image.expand(8000, -1, -1, -1))
    counts = [(drawn == view).all(dim=(1, 2, 3)).sum().item() for view in seen]
    assert sum(counts) == 8000
    # 1000 expected each; the standard deviation is sqrt(8000 * 1/8 * 7/8) = 30.
    assert max(abs(count - 1000) for count in counts) < 5 * 30


def test_nothing_asked_for_changes_nothing():
    batch, targets = images(), torch.arange(6)
    changed, same = Augment(classes=6)(batch, targets)
    assert torch.equal(changed, batch)
    assert torch.equal(same, targets)


@pytest.mark.parametrize("shape", [(12, 12), (8, 14)])
def test_affine_equals_scipys_transform(monkeypatch, shape):
    """A turn of 30 degrees, a zoom of exp(0.1) and shifts, on square and oblong images."""
    height, width = shape
    angle, zoom, right, down = 30.0, 0.1, 0.1, -0.05
    values = iter([angle, zoom, down, right])
    monkeypatch.setattr(
        augment, "_uniform", lambda images, low, high: torch.full((len(images),), next(values))
    )
    batch = images(2, height, width)
    changed = augment.random_affine(batch, 30, 0.1, 0.1)
    radians, factor = math.radians(angle), math.exp(zoom)
    matrix = factor * np.array(
        [[math.cos(radians), math.sin(radians)], [-math.sin(radians), math.cos(radians)]]
    )
    centre = np.array([(height - 1) / 2, (width - 1) / 2])
    offset = centre + np.array([down * height, right * width]) - matrix @ centre
    expected = affine_transform(
        batch[0, 0].double().numpy(), matrix, offset, order=1, mode="reflect"
    )
    assert changed[0, 0].numpy() == pytest.approx(expected, abs=1e-5)


def test_affine_stays_within_its_bounds(monkeypatch):
    drawn = []
    uniform = augment._uniform
    monkeypatch.setattr(
        augment,
        "_uniform",
        lambda images, low, high: drawn.append((low, high)) or uniform(images, low, high),
    )
    augment.random_affine(images(), 15, 0.2, 0.1)
    assert drawn == [(-15, 15), (-0.2, 0.2), (-0.1, 0.1), (-0.1, 0.1)]


def test_colours_by_hand(monkeypatch):
    factors = iter([1.5, 0.5, 2.0])
    monkeypatch.setattr(
        augment, "_uniform", lambda images, low, high: torch.full((len(images),), next(factors))
    )
    pixel = torch.tensor([0.2, 0.4, 0.3]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    changed = augment.random_colours(pixel, 0.5, 0.5, 1.0)
    # mean 0.3: brightness 0.45, contrast halves the deviations, saturation doubles them again
    assert changed[0, :, 0, 0].tolist() == pytest.approx([0.35, 0.55, 0.45])


def test_colours_stay_in_range():
    changed = augment.random_colours(images(500), 1, 1, 1)
    assert changed.min() >= 0 and changed.max() <= 1


def test_erasing_hits_its_share_with_a_rectangle_in_the_mean_colour():
    batch = images(4000, 10, 10)
    changed = augment.random_erasing(batch, 0.5)
    erased = (changed != batch).any(dim=1)
    share = erased.any(dim=(1, 2)).float().mean().item()
    assert 0.35 < share < 0.55  # a hole may cover no pixel's centre
    rows, columns = erased.any(dim=2), erased.any(dim=1)
    assert torch.equal(erased, rows[:, :, None] & columns[:, None, :])
    assert max(rows.sum(dim=1).max().item(), columns.sum(dim=1).max().item()) <= 6
    holes = changed.permute(0, 2, 3, 1)[erased]
    means = batch.mean(dim=(2, 3))[erased.nonzero()[:, 0]]
    assert torch.equal(holes, means)


def test_mixup_blends_images_and_targets_alike():
    batch, targets = images(5), torch.tensor([0, 1, 2, 3, 4])
    mixed, shares = Augment(classes=5, mixup=1.0)(batch, targets)
    assert shares.sum(dim=1).tolist() == pytest.approx([1.0] * 5)
    blended = torch.einsum("nk,kchw->nchw", shares, batch)  # image k has class k
    assert mixed.numpy() == pytest.approx(blended.numpy(), abs=1e-6)


def test_cutmix_shares_are_those_of_the_pixels():
    batch = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 1, 10, 10) / 10
    shares_seen = set()
    for _ in range(20):
        mixed, shares = Augment(classes=5, cutmix=1.0)(batch, torch.arange(5))
        pixels = torch.stack([(mixed == k / 10).float().mean(dim=(1, 2, 3)) for k in range(5)], 1)
        assert shares.numpy() == pytest.approx(pixels.numpy(), abs=1e-6)
        shares_seen.add(round(shares.max().item(), 2))
    assert len(shares_seen) > 5


def test_batches_are_mixed_as_often_as_asked():
    mixing = Augment(classes=3, mixup=0.25, cutmix=0.25)
    batch, targets = images(3), torch.arange(3)
    same = sum(torch.equal(mixing(batch, targets)[0], batch) for _ in range(2000))
    assert 0.48 < same / 2000 < 0.65  # half, and some whose partner or patch changes nothing


def test_the_seed_decides_everything():
    strong = Augment(
        classes=6, dihedral=True, rotation=180, scale=0.2, shift=0.1, erase=0.5, cutmix=1
    )
    torch.manual_seed(7)
    first = strong(images(), torch.arange(6))
    torch.manual_seed(7)
    second = strong(images(), torch.arange(6))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


def test_mixed_precision_moves_no_pixel():
    turned = Augment(classes=6, rotation=180, scale=0.2, shift=0.1)
    batch = images(6, 64, 64)
    torch.manual_seed(3)
    plain, _ = turned(batch, torch.arange(6))
    torch.manual_seed(3)
    with torch.autocast("cpu", torch.bfloat16):
        mixed, _ = turned(batch, torch.arange(6))
    assert torch.equal(plain, mixed)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rotation": 200}, "augment.rotation=200: expected a number from 0 to 180"),
        ({"erase": -1}, "augment.erase=-1: expected a number from 0 to 1"),
        (
            {"mixup": 0.6, "cutmix": 0.6},
            "augment.mixup + augment.cutmix=1.2: expected a number from 0 to 1",
        ),
        ({"alpha": 0}, "augment.alpha=0: expected a number above 0"),
        ({"alpha": math.inf}, "augment.alpha=inf: expected a number above 0"),
        ({"scale": "big"}, "augment.scale=big: expected a number from 0 to 1"),
        ({"dihedral": "yes"}, "augment.dihedral=yes: expected true or false"),
    ],
)
def test_bad_values_are_refused(given, message):
    with pytest.raises(UserError, match=message.replace("+", r"\+")):
        Augment(classes=2, **given)
