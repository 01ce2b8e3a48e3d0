"""The training's mean loss and accuracy, and the batch in which it diverged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from dermaexp.core.errors import UserError
from dermaexp.training.classifier import Classifier
from dermaexp.training.epoch_sums import READ_EVERY, EpochSums


def added(losses: list[float], sizes: list[int] | None = None) -> EpochSums:
    sums = EpochSums()
    for loss, size in zip(losses, sizes or [1] * len(losses), strict=True):
        sums.add(torch.tensor(loss), torch.tensor((size + 1) // 2), [size])
    return sums


def test_images_weigh_alike_whatever_their_batch() -> None:
    loss, accuracy, images = added([1.0, 4.0], [4, 2]).means()
    assert (loss, accuracy, images) == (2.0, 0.5, 6)


def test_every_label_of_an_image_counts() -> None:
    sums = EpochSums()
    sums.add(torch.tensor(0.0), torch.tensor(5), [2, 3])
    assert sums.means() == (0.0, 5 / 6, 2)


def test_long_epochs_are_read_in_parts() -> None:
    losses = np.linspace(0, 1, 2 * READ_EVERY + 50).tolist()
    sums = added(losses)
    assert sums.batches == 2 * READ_EVERY, "the rest waits on the device"
    assert sums.means() == pytest.approx((0.5, 1.0, len(losses)))
    assert sums.diverged_in is None
    sums.clear()
    assert (sums.batches, sums.images) == (0, 0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_first_diverged_batch_is_named(value: float) -> None:
    sums = added([1.0] * (READ_EVERY + 20) + [value, 1.0, value])
    assert sums.diverged_in is None, "not read yet"
    sums.read()
    assert sums.diverged_in == READ_EVERY + 21
    assert added([value] * READ_EVERY).diverged_in == 1, "read by itself"


def test_nothing_diverged_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even by a callback that saves inside an epoch, before the loss is read."""
    classifier = Classifier(nn.Flatten(), torch.optim.Adam)
    checkpoint: dict = {}
    classifier.on_save_checkpoint(checkpoint)
    assert checkpoint["last_epoch"]["trained_samples"] == 0
    classifier.sums.add(torch.tensor(float("nan")), torch.tensor(1), [1])
    monkeypatch.setattr(Classifier, "current_epoch", 0)
    with pytest.raises(UserError, match="the loss is not a number in epoch 1, step 1"):
        classifier.on_save_checkpoint({})
