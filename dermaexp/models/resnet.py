"""Residual networks for small images: ResNet-18 and ResNet-50 as MedMNIST trains them at 28 pixels.

ResNet: He et al., 2016; the form for small images: MedMNIST v2, Yang et al., 2023, after
K. Liu's pytorch-cifar.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

Branch = Callable[[int, int, int], nn.Sequential]  # (inputs, outputs, stride)

STEM = 64
STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))  # width and stride
EXPANSION = 4  # outputs of a bottleneck for each filter of its 3x3 convolution


def resnet18(image_shape: tuple[int, int, int], classes: int) -> ResNet:
    """ResNet-18, 11,172,423 parameters for RGB and 7 classes; `image_shape` is (C, H, W)."""
    return ResNet(image_shape[0], classes, basic, blocks=(2, 2, 2, 2))


def resnet50(image_shape: tuple[int, int, int], classes: int) -> ResNet:
    """ResNet-50, 23,514,695 parameters for RGB and 7 classes; `image_shape` is (C, H, W)."""
    return ResNet(image_shape[0], classes, bottleneck, blocks=(3, 4, 6, 3), expansion=EXPANSION)


class ResNet(nn.Module):
    """A 3x3 stem that keeps the size, four stages of which three halve it, then their mean.

    Takes any size from 1 pixel. torchvision has the form for ImageNet's sizes, whose stem halves
    twice before the stages.
    """

    def __init__(
        self, channels: int, classes: int, branch: Branch, blocks: Sequence[int], expansion: int = 1
    ) -> None:
        """`blocks` counts the residual blocks of each stage, each around a `branch`."""
        super().__init__()
        self.stem = nn.Sequential(*_convolution(channels, STEM, 3), nn.ReLU())
        stages, inputs = [], STEM
        for (width, stride), count in zip(STAGES, blocks, strict=True):
            outputs = width * expansion
            stage = [Residual(branch, inputs, outputs, stride)]
            stage += [Residual(branch, outputs, outputs, 1) for _ in range(count - 1)]
            stages.append(nn.Sequential(*stage))
            inputs = outputs
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(inputs, classes)
        # With the channels of a pixel side by side, CPUs and tensor cores convolve faster.
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        return self.head(self.stages(self.stem(images)).mean(dim=(2, 3)))


class Residual(nn.Module):
    """A branch and its shortcut, which is a 1x1 convolution if size or width change."""

    def __init__(self, branch: Branch, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.branch = branch(inputs, outputs, stride)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Sequential(*(() if same else _convolution(inputs, outputs, 1, stride)))

    def forward(self, maps: Tensor) -> Tensor:
        return (self.branch(maps) + self.shortcut(maps)).relu()


def basic(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Two 3x3 convolutions."""
    return nn.Sequential(
        *_convolution(inputs, outputs, 3, stride),
        nn.ReLU(),
        *_convolution(outputs, outputs, 3),
    )


def bottleneck(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """A 3x3 convolution between two 1x1 that narrow and widen."""
    width = outputs // EXPANSION
    return nn.Sequential(
        *_convolution(inputs, width, 1),
        nn.ReLU(),
        *_convolution(width, width, 3, stride),
        nn.ReLU(),
        *_convolution(width, outputs, 1),
    )


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    ]
