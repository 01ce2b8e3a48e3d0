"""Losses of several labels an image, by hand; mixed targets are shares of labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dermaexp.core.errors import UserError
from dermaexp.training.label_losses import (
    BinaryCrossEntropy,
    BinaryFocalLoss,
    WeightedBinaryCrossEntropy,
)

COUNTS, IMAGES = {"mass": 20, "nodule": 5}, 100
LOGITS = torch.tensor([[2.0, -1.0], [0.5, 3.0], [-4.0, 0.0]])
TARGETS = torch.tensor([[1, 0], [0, 1], [0, 0]])
P = torch.sigmoid(LOGITS.double()).numpy()
Y = TARGETS.numpy().astype(float)


def binary_cross_entropy(y: np.ndarray, present: np.ndarray | float = 1.0) -> np.ndarray:
    return -(present * y * np.log(P) + (1 - y) * np.log(1 - P))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_binary_cross_entropy(smoothing: float) -> None:
    expected = binary_cross_entropy(Y * (1 - smoothing) + smoothing / 2).mean()
    loss = BinaryCrossEntropy(COUNTS, IMAGES, smoothing)
    assert loss(LOGITS, TARGETS).item() == pytest.approx(expected, rel=1e-6)
    assert loss(LOGITS, TARGETS.float()).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_presence_weighs_as_much_as_absence(power: float) -> None:
    weights = np.array([80 / 20, 95 / 5]) ** power
    expected = binary_cross_entropy(Y, weights).mean()
    loss = WeightedBinaryCrossEntropy(COUNTS, IMAGES, power)
    assert loss(LOGITS, TARGETS).item() == pytest.approx(expected, rel=1e-6)


def test_given_weights_are_of_labels() -> None:
    expected = (binary_cross_entropy(Y) * np.array([1.5, 0.5])).mean()
    loss = WeightedBinaryCrossEntropy(COUNTS, IMAGES, weights=[3, 1])
    assert loss(LOGITS, TARGETS).item() == pytest.approx(expected, rel=1e-6)
    with pytest.raises(UserError, match="expected 2 numbers"):
        WeightedBinaryCrossEntropy(COUNTS, IMAGES, weights=[3, 1, 2])


def test_a_label_without_images_cannot_be_weighted() -> None:
    with pytest.raises(UserError, match=r"weighs 'nodule', which no training image has"):
        WeightedBinaryCrossEntropy({"mass": 20, "nodule": 0}, IMAGES)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_focal_loss(gamma: float) -> None:
    present, absent = (1 - P) ** gamma * -np.log(P), P**gamma * -np.log(1 - P)
    expected = (Y * present + (1 - Y) * absent).mean()
    loss = BinaryFocalLoss(COUNTS, IMAGES, gamma)
    assert loss(LOGITS, TARGETS).item() == pytest.approx(expected, rel=1e-6)
