"""Time parts of a recipe against baselines, on the CPU: python -m benchmarks recipe

augment    `augment=strong` on whole batches, against the same changes by torchvision v2, image by
           image, as a Dataset's transform makes them
training   a step of resnet11 on batches of 128, by precision, memory format and torch.compile,
           against 32 bits in torch's default memory format
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchvision.transforms import v2

from benchmarks.measure import Spread, Table, alternate, compared
from dermaexp.models.resnet11 import ResNet11
from dermaexp.training.augment import Augment

BATCH_SIZE = 128
SIZE = 28
CLASSES = 7
ROUNDS = 5


def repeated(work: Callable[[], object], times: int) -> Callable[[], float]:
    """Return a side of `alternate` that gives the seconds of one call of `work`."""

    def side() -> float:
        started = time.perf_counter()
        for _ in range(times):
            work()
        return (time.perf_counter() - started) / times

    return side


def augmentation() -> Table:
    images = torch.rand(BATCH_SIZE, 3, SIZE, SIZE)
    targets = torch.randint(CLASSES, (BATCH_SIZE,))
    strong = Augment(
        CLASSES,
        dihedral=True,
        rotation=180,
        scale=0.2,
        shift=0.1,
        brightness=0.1,
        contrast=0.1,
        saturation=0.1,
    )
    one_by_one = v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.RandomAffine(
                180,
                translate=(0.1, 0.1),
                scale=(0.82, 1.22),
                interpolation=v2.InterpolationMode.BILINEAR,
            ),
            v2.ColorJitter(0.1, 0.1, 0.1),
        ]
    )
    sides = {
        "torchvision v2, image by image": repeated(lambda: [one_by_one(i) for i in images], 1),
        "whole batch": repeated(lambda: strong(images, targets), 10),
    }
    title = f"augment=strong, {BATCH_SIZE} images of {SIZE} px"
    return Table(title, compared(milliseconds(sides), next(iter(sides)), "ms"))


def step(
    model: nn.Module, images: Tensor, targets: Tensor, dtype: torch.dtype
) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(model.parameters())

    def work() -> None:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            logits = model(images)
        optimizer.zero_grad()
        cross_entropy(logits.float(), targets).backward()
        optimizer.step()

    return work


def training() -> Table:
    torch.manual_seed(0)
    images = torch.rand(BATCH_SIZE, 3, SIZE, SIZE)
    targets = torch.randint(CLASSES, (BATCH_SIZE,))
    ours = ResNet11((3, SIZE, SIZE), CLASSES)
    plain = copy.deepcopy(ours).to(memory_format=torch.contiguous_format)
    plain.forward = lambda images: plain.head(  # without the change of memory format
        torch.cat([(maps := plain.maps(images)).amax((2, 3)), maps.mean((2, 3))], 1)
    )
    compiled = copy.deepcopy(ours)
    compiled.compile()
    sides = {
        name: repeated(step(model, images, targets, dtype), 5)
        for name, model, dtype in (
            ("32 bits, channels first", plain, torch.float32),
            ("32 bits", ours, torch.float32),
            ("bf16-mixed", copy.deepcopy(ours), torch.bfloat16),
            ("bf16-mixed, compiled", compiled, torch.bfloat16),
        )
    }
    title = f"a training step of resnet11, {BATCH_SIZE} images of {SIZE} px"
    return Table(title, compared(milliseconds(sides), "32 bits, channels first", "ms"))


def milliseconds(sides: Mapping[str, Callable[[], float]]) -> dict[str, Spread]:
    return {
        name: Spread([1e3 * value for value in spread.values], digits=1)
        for name, spread in alternate(sides, ROUNDS).items()
    }


def measure() -> list[Table]:
    return [augmentation(), training()]
