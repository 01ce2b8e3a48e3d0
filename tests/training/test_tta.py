import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform

from dermaexp.training import tta


def images(count=2, height=8, width=8):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, 3, height, width, generator=generator)


def test_dihedral_views_are_the_eight_symmetries_of_the_square():
    image = images(1)
    seen = tta.dihedral(image)
    expected = [
        torch.rot90(flipped, turns, (2, 3))
        for flipped in (image, image.flip(3))
        for turns in range(4)
    ]
    assert len(seen) == 8
    for view in expected:
        assert sum(torch.equal(view, other) for other in seen) == 1


def test_views_of_oblong_images_keep_their_shape():
    for of_images, count in ((tta.dihedral, 4), (tta.dihedral_zoom, 12)):
        seen = of_images(images(2, 6, 9))
        assert [tuple(view.shape) for view in seen] == [(2, 3, 6, 9)] * count


@pytest.mark.parametrize("zoom", [1 / 1.15, 1.15, 2.0])
@pytest.mark.parametrize("shape", [(12, 12), (8, 14)])
def test_zooms_equal_scipys_transform(zoom: float, shape: tuple[int, int]):
    batch = images(2, *shape)
    centre = (np.array(shape) - 1) / 2
    for image, zoomed in zip(batch, tta.zoomed(batch, zoom), strict=True):
        expected = affine_transform(
            image[0].double().numpy(), np.eye(2) / zoom, centre * (1 - 1 / zoom), order=1,
            mode="reflect",
        )  # fmt: skip
        assert zoomed[0].numpy() == pytest.approx(expected, abs=1e-5)


def test_mixed_precision_moves_no_pixel():
    plain = tta.dihedral_zoom(images())
    with torch.autocast("cpu", torch.bfloat16):
        mixed = tta.dihedral_zoom(images())
    assert all(torch.equal(a, b) for a, b in zip(plain, mixed, strict=True))


def test_dihedral_zoom_has_each_symmetry_at_each_zoom():
    batch = images()
    seen = tta.dihedral_zoom(batch)
    assert len(seen) == 24
    assert torch.equal(torch.stack(seen[8:16]), torch.stack(tta.dihedral(batch)))
    enlarged = tta.dihedral(tta.zoomed(batch, 1.15))
    assert torch.equal(torch.stack(seen[16:]), torch.stack(enlarged))
