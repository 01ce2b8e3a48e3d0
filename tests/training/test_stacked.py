"""Stacked replicas: one step of several classifiers, with each one's own numbers."""

from __future__ import annotations

import copy
import functools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from helpers import DropoutNet
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from dermaexp.models.cnn import CNN
from dermaexp.models.ffn import FFN
from dermaexp.models.resnet import resnet18
from dermaexp.models.resnet11 import ResNet11
from dermaexp.training import stacked
from dermaexp.training.classifier import Classifier
from dermaexp.training.losses import FocalLoss, WeightedCrossEntropy

SHAPE, CLASSES, REPLICAS, BATCH = (1, 28, 28), 7, 3, 6
COUNTS = {str(name): 10 * (name + 1) for name in range(CLASSES)}


def classifiers(
    build: Callable[..., nn.Module] = FFN, replicas: int = REPLICAS, **options: Any
) -> list[Classifier]:
    torch.manual_seed(0)
    sgd = functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9)
    return [Classifier(build(SHAPE, CLASSES), sgd, **options) for _ in range(replicas)]


def batch(replicas: int = REPLICAS) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand(replicas, BATCH, *SHAPE, generator=generator)
    return pixels, torch.randint(CLASSES, (replicas, BATCH), generator=generator)


def single_steps(of: Classifier, pixels: Tensor, goals: Tensor, clip: float | None) -> None:
    optimizer = of.make_optimizer(of.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        of.loss_of(pixels, goals)[0].backward()
        if clip:
            nn.utils.clip_grad_norm_(of.parameters(), clip)
        optimizer.step()


@pytest.mark.parametrize(
    ("build", "options", "clip"),
    [
        (FFN, {}, None),
        (CNN, {"mean": 0.5, "std": 0.25}, 0.1),
        (functools.partial(ResNet11, width=4), {"loss": FocalLoss(COUNTS)}, None),
        (resnet18, {"loss": WeightedCrossEntropy(COUNTS)}, 0.1),
    ],
    ids=["ffn", "cnn", "resnet11", "resnet18"],
)
def test_each_one_takes_its_own_steps(build, options, clip: float | None) -> None:
    """Weights and running statistics, too, after three steps."""
    together = classifiers(build, **options)
    alone = copy.deepcopy(together)
    pixels, goals = batch()
    assert stacked.obstacle(together, "SGD", pixels[0], goals[0]) is None
    stack = stacked.Stack(together)
    optimizer = together[0].make_optimizer(stack.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        losses, logits = stack.step(pixels, goals)
        losses.sum().backward()
        if clip:
            stack.clip_gradients(clip)
        optimizer.step()
    assert (losses.shape, logits.shape) == ((REPLICAS,), (REPLICAS, BATCH, CLASSES))
    for ours, theirs, own, own_goals in zip(together, alone, pixels, goals, strict=True):
        before = copy.deepcopy(theirs.state_dict())
        single_steps(theirs, own, own_goals, clip)
        after = theirs.state_dict()
        for name, value in ours.state_dict().items():
            torch.testing.assert_close(value, after[name], rtol=1e-4, atol=1e-5, msg=name)
        assert any(not torch.equal(before[name], value) for name, value in after.items())


class CountingSteps(ResNet11):
    """Keeps a number that is no buffer."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args, width=4)
        self.steps = 0

    def forward(self, images: Tensor) -> Tensor:
        self.steps += 1
        return super().forward(images)


def test_a_try_changes_nothing() -> None:
    together = classifiers(CountingSteps)
    before = copy.deepcopy([c.state_dict() for c in together])
    pixels, goals = batch()
    assert stacked.obstacle(together, "SGD", pixels[0], goals[0]) is None
    for own, other in zip(before, (c.state_dict() for c in together), strict=True):
        assert all(torch.equal(value, other[name]) for name, value in own.items())
    assert not any(c.net.steps for c in together)


class Branching(FFN):
    """Looks at its values, as vmap cannot."""

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        return logits if logits.sum() > 0 else logits * 2


class Unlike(FFN):
    """Keeps what is no buffer and differs between replicas."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.factor = float(torch.rand(()))

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * self.factor


class Assigning(FFN):
    """Puts another tensor in a buffer's place, which is lost with vmap."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.register_buffer("steps", torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        self.steps = self.steps + 1
        return super().forward(images)


class Refusing(FFN):
    def forward(self, images: Tensor) -> Tensor:
        raise NotImplementedError


class Scaled(FFN):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.scale = nn.Parameter(torch.tensor(1.0))


@pytest.mark.parametrize(
    ("build", "optimizer", "reason"),
    [
        (FFN, "Muon", "Muon may treat the elements of a weight together"),
        (DropoutNet, "SGD", "random operation"),
        (Branching, "SGD", "data-dependent control flow"),
        (Unlike, "SGD", "other numbers"),
        (Assigning, "SGD", "other numbers"),
        (Refusing, "SGD", "NotImplementedError"),
        (Scaled, "SGD", "without dimensions"),
    ],
)
def test_what_cannot_be_stacked(build, optimizer: str, reason: str) -> None:
    pixels, goals = batch()
    assert reason in (stacked.obstacle(classifiers(build), optimizer, pixels[0], goals[0]) or "")


class Counting(TorchDispatchMode):
    """Counts the operations that reach a device, each of them one launch or more."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if not func.is_view:
            self.calls[str(func)] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("build", [FFN, CNN, functools.partial(ResNet11, width=4)])
def test_eight_stacked_steps_launch_as_little_as_three(build) -> None:
    pixels, goals = batch(8)
    together = classifiers(build, 8)
    (single,) = classifiers(build, 1)
    fused = functools.partial(torch.optim.Adam, fused=True)
    stack, optimizer = stacked.Stack(together), fused(single.parameters())
    stacked_optimizer = fused(stack.parameters())
    with Counting() as of_one:
        single.loss_of(pixels[0], goals[0])[0].backward()
        optimizer.step()
    with Counting() as of_eight:
        stack.step(pixels, goals)[0].sum().backward()
        stacked_optimizer.step()
    one, eight = (sum(counting.calls.values()) for counting in (of_one, of_eight))
    assert one > 10
    assert eight < 3 * one
