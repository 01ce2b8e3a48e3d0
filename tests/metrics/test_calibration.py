"""Calibration error against torchmetrics and by hand; the temperature against known ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import random_predictions
from torchmetrics.functional.classification import multiclass_calibration_error

from dermaexp.metrics import calibration, classification
from dermaexp.training.run_metrics import run_metrics


def calibrated_predictions(
    samples: int, classes: int, seed: int, temperature: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Targets sampled from the probabilities, whose logits are then multiplied by `temperature`."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(scale=2, size=(samples, classes))
    exponentials = np.exp(logits)
    true = exponentials / exponentials.sum(axis=1, keepdims=True)
    targets = (generator.random((samples, 1)) > true.cumsum(axis=1)).sum(axis=1)
    exponentials = np.exp(temperature * logits)
    return targets, (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("classes", [2, 7])
@pytest.mark.parametrize("scale", [0.3, 1, 3])
def test_calibration_error_is_that_of_torchmetrics(classes: int, scale: float) -> None:
    targets, probabilities = random_predictions(700, classes, seed=classes, scale=scale)
    probabilities = probabilities[probabilities.max(axis=1) < 0.999]  # theirs has a bin for 1 alone
    targets = targets[: len(probabilities)]
    expected = multiclass_calibration_error(
        torch.tensor(probabilities), torch.tensor(targets), classes, n_bins=15, norm="l1"
    )
    found = classification.expected_calibration_error(targets, probabilities)
    assert found == pytest.approx(expected.item(), abs=1e-6)


def test_calibration_error_by_hand() -> None:
    """Bins of (0.6, 0.667], three images with one right, and of (0.933, 1], one that is right."""
    probabilities = np.array([[0.62, 0.38], [0.64, 0.36], [0.36, 0.64], [0.0, 1.0]])
    targets = np.array([0, 1, 0, 1])
    samples, confidence, accuracy = classification.reliability(targets, probabilities)
    assert samples.tolist() == [0] * 9 + [3] + [0] * 4 + [1]
    assert confidence == pytest.approx([1.9 / 3, 1.0])
    assert accuracy == pytest.approx([1 / 3, 1.0])
    expected = 3 / 4 * (1.9 / 3 - 1 / 3)
    assert classification.expected_calibration_error(targets, probabilities) == pytest.approx(
        expected
    )


def test_a_bin_holds_its_upper_edge() -> None:
    probabilities = np.array([[0.6, 0.4], [0.6 + 1e-9, 0.4 - 1e-9]])
    samples, _, _ = classification.reliability(np.zeros(2, int), probabilities)
    assert np.flatnonzero(samples).tolist() == [8, 9]


@pytest.mark.slow
def test_perfect_calibration_has_no_error() -> None:
    targets, probabilities = calibrated_predictions(200_000, 5, seed=0)
    assert classification.expected_calibration_error(targets, probabilities) < 0.005
    found = calibration.fit_temperature(targets, probabilities)
    assert found == (pytest.approx(1, abs=0.01), False)


@pytest.mark.parametrize("temperature", [0.4, 1.7, 5.0])
def test_the_temperature_is_found(temperature: float) -> None:
    val = calibrated_predictions(100_000, 5, seed=1, temperature=temperature)
    test = calibrated_predictions(100_000, 5, seed=2, temperature=temperature)
    numbers = calibration.calibration(val, test)
    assert numbers["temperature"] == pytest.approx(temperature, rel=0.02)
    for split, (targets, probabilities) in (("val", val), ("test", test)):
        raw, calibrated = numbers[split]["raw"], numbers[split]["calibrated"]
        assert raw["loss"] == classification.cross_entropy(targets, probabilities)
        assert raw["expected_calibration_error"] > 0.02
        assert calibrated["expected_calibration_error"] < 0.006
        assert calibrated["loss"] < raw["loss"]


def test_no_temperature_fits_val_better() -> None:
    targets, probabilities = random_predictions(300, 4, seed=5, scale=3)
    best, at_limit = calibration.fit_temperature(targets, probabilities)
    assert not at_limit

    def loss(temperature: float) -> float:
        return classification.cross_entropy(
            targets, calibration.calibrated(probabilities, temperature)
        )

    assert loss(best) <= min(loss(best * factor) for factor in (0.5, 0.99, 1.01, 2))


def test_no_answer_changes() -> None:
    _, probabilities = random_predictions(500, 7, seed=6, scale=20)  # many of 0 and 1
    for temperature in (0.01, 0.3, 4.0, 100.0):
        after = calibration.calibrated(probabilities, temperature)
        assert after.sum(axis=1) == pytest.approx(1)
        assert (after.argmax(axis=1) == probabilities.argmax(axis=1)).all()
    assert calibration.calibrated(probabilities, 1.0) == pytest.approx(probabilities, abs=1e-6)


def test_a_val_without_an_error_gets_a_temperature_near_0() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    found = calibration.fit_temperature(np.array([0, 1]), probabilities)
    assert 1 / calibration.HOTTEST <= found.value < 0.05
    assert found.at_limit


def test_probabilities_without_information_have_no_best_temperature() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]], np.float32)
    found = calibration.fit_temperature(np.array([1, 0, 0]), probabilities)
    assert found == (pytest.approx(calibration.HOTTEST, rel=1e-3), True)
    numbers = calibration.calibration(*[(np.array([1, 0, 0]), probabilities)] * 2)
    assert numbers["at_limit"]


def test_calibration_changes_no_other_number() -> None:
    predictions = {
        split: random_predictions(200, 3, seed) for seed, split in enumerate(("val", "test"))
    }
    raw, both = (
        run_metrics(predictions, np.array([1]), ["a", "b", "c"], calibrate=calibrate)
        for calibrate in (False, True)
    )
    assert both.pop("calibration")["fitted_on"] == "val"
    assert both == raw
    assert set(raw) == {"val", "test", "operating_points", "majority_class"}
