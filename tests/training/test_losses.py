import numpy as np
import pytest
import torch
from torch.nn import functional

from dermaexp.core.errors import UserError
from dermaexp.training.losses import CrossEntropy, FocalLoss, LogitAdjusted, WeightedCrossEntropy

COUNTS = {"nevus": 60, "melanoma": 30, "wart": 10}
LOGITS = torch.tensor([[2.0, 0.5, -1.0], [0.1, 0.2, 0.3], [-3.0, 1.0, 4.0], [9.0, 0.0, -9.0]])
TARGETS = torch.tensor([0, 1, 2, 2])
P = LOGITS.double().softmax(dim=1).numpy()
OF_TARGET = P[np.arange(4), TARGETS]


def shares(smoothing):
    return np.eye(3)[TARGETS] * (1 - smoothing) + smoothing / 3


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_by_hand(smoothing):
    expected = -(shares(smoothing) * np.log(P)).sum(axis=1).mean()
    loss = CrossEntropy(COUNTS, label_smoothing=smoothing)
    assert loss(LOGITS, TARGETS).item() == pytest.approx(expected, rel=1e-6)
    assert loss(LOGITS, one_hot()).item() == pytest.approx(expected, rel=1e-6)


def one_hot():
    return functional.one_hot(TARGETS, 3).float()


def test_balanced_weights_by_hand():
    """Each class weighs 100 / (3 x its images), so that an average image weighs 1."""
    weights = np.array([100 / 180, 100 / 90, 100 / 30])
    loss = WeightedCrossEntropy(COUNTS)
    assert loss.weights.numpy() == pytest.approx(weights)
    expected = (weights[TARGETS] * -np.log(OF_TARGET)).mean()
    assert loss(LOGITS, TARGETS).item() == pytest.approx(expected, rel=1e-6)
    assert loss(LOGITS, one_hot()).item() == pytest.approx(expected, rel=1e-6)


def test_given_weights_are_scaled_to_an_average_image():
    loss = WeightedCrossEntropy(COUNTS, weights=[1, 4, 0])
    assert loss.weights.tolist() == pytest.approx([1 / 1.8, 4 / 1.8, 0])


def test_power_zero_is_cross_entropy():
    loss = WeightedCrossEntropy(COUNTS, power=0, label_smoothing=0.1)
    plain = CrossEntropy(COUNTS, label_smoothing=0.1)
    assert loss(LOGITS, TARGETS).item() == pytest.approx(plain(LOGITS, TARGETS).item())


@pytest.mark.parametrize(("gamma", "smoothing"), [(2.0, 0.0), (0.5, 0.0), (2.0, 0.1)])
def test_focal_loss_by_hand(gamma, smoothing):
    expected = -(shares(smoothing) * (1 - P) ** gamma * np.log(P)).sum(axis=1).mean()
    loss = FocalLoss(COUNTS, gamma=gamma, label_smoothing=smoothing)
    assert loss(LOGITS, TARGETS).item() == pytest.approx(expected, rel=1e-5)
    assert loss(LOGITS, one_hot()).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_gradients_are_finite_where_the_model_is_sure(gamma):
    logits = torch.tensor([[200.0, 0.0, -200.0], [0.0, 200.0, 0.0]], requires_grad=True)
    FocalLoss(COUNTS, gamma=gamma)(logits, torch.tensor([0, 2])).backward()
    assert torch.isfinite(logits.grad).all()


def test_logit_adjustment_by_hand():
    adjusted = LOGITS.double().numpy() + 0.5 * np.log([0.6, 0.3, 0.1])
    log_p = adjusted - np.log(np.exp(adjusted).sum(axis=1, keepdims=True))
    expected = -log_p[np.arange(4), TARGETS].mean()
    loss = LogitAdjusted(COUNTS, tau=0.5)
    assert loss(LOGITS, TARGETS).item() == pytest.approx(expected, rel=1e-6)


def test_logits_of_chance_learn_equal_frequencies():
    """Trained on nothing but the frequencies, tau 1 leaves logits without preference."""
    logits = torch.zeros(1, 3, requires_grad=True)
    targets = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    optimizer = torch.optim.LBFGS([logits], max_iter=100)
    loss = LogitAdjusted(COUNTS)

    def closure():
        optimizer.zero_grad()
        value = loss(logits.expand(100, 3), targets)
        value.backward()
        return value

    optimizer.step(closure)
    assert logits.softmax(dim=1)[0].tolist() == pytest.approx([1 / 3] * 3, abs=1e-3)


def test_losses_leave_checkpoints_alone():
    for loss in (WeightedCrossEntropy(COUNTS), LogitAdjusted(COUNTS)):
        assert loss.state_dict() == {}


NO_WARTS = {"nevus": 60, "melanoma": 30, "wart": 0}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WeightedCrossEntropy(NO_WARTS), "loss=weighted weighs 'wart', of which there is"),
        (
            lambda: LogitAdjusted(NO_WARTS),
            "loss=logit_adjusted weighs 'wart', of which there is no",
        ),
        (
            lambda: WeightedCrossEntropy(NO_WARTS, weights=[1, 1, 2]),
            r"loss.weights=\[1, 1, 2\] weighs 'wart', of which there is no training image",
        ),
        (
            lambda: WeightedCrossEntropy(COUNTS, weights=[1, 2]),
            r"loss.weights=\[1, 2\]: expected 3 numbers .* classes: nevus, melanoma, wart",
        ),
        (
            lambda: WeightedCrossEntropy(COUNTS, weights="auto"),
            "loss.weights=auto: expected numbers",
        ),
        (lambda: WeightedCrossEntropy(COUNTS, weights=[0, 0, 0]), "not all 0"),
        (
            lambda: WeightedCrossEntropy(COUNTS, weights=[1, 2, float("inf")]),
            "expected numbers from 0",
        ),
        (lambda: WeightedCrossEntropy(COUNTS, power=1000), "power=1000: expected .* below 10"),
        (lambda: WeightedCrossEntropy(COUNTS, power=-1), "loss.power=-1: expected a number from 0"),
        (lambda: FocalLoss(COUNTS, gamma=-1), "loss.gamma=-1: expected a number from 0"),
        (lambda: CrossEntropy(COUNTS, label_smoothing=1), "label_smoothing=1: expected .* below 1"),
    ],
)
def test_bad_values_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_a_weight_of_zero_needs_no_images():
    assert WeightedCrossEntropy(NO_WARTS, weights=[1, 1, 0]).weights.tolist() == [1, 1, 0]
