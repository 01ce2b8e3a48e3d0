"""Several classifiers as one: their weights in stacked tensors, their steps in one call.

A device then launches about twice as many kernels for a step of all of them as for a step of one.
The numbers are those of each classifier alone, but for float noise.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.overrides import TorchFunctionMode

from dermaexp.training.classifier import Classifier

# torch's optimizers that change each element by itself, so that stacked weights change nothing.
ELEMENTWISE = (
    *("Adadelta", "Adagrad", "Adam", "Adamax", "AdamW"),
    *("NAdam", "RAdam", "RMSprop", "Rprop", "SGD"),
)
MATRICES = 3  # dimensions of stacked ones
TOLERANCE = 1e-3  # of the largest logit or value of a buffer, between stacked and single steps

State = dict[str, Tensor]


class Stack:
    """The weights and buffers of N classifiers as tensors (N, …), see `joined`.

    The classifiers' own become views of these, so that each validates, and is saved, as always.
    """

    def __init__(self, classifiers: Sequence[Classifier]) -> None:
        steps = [_Step(classifier) for classifier in classifiers]
        self._step = steps[0]
        weights, self._buffers = _stacked(steps)
        self._weights = {
            name: _laid_out(weight).detach().requires_grad_(weight.requires_grad)
            for name, weight in weights.items()
        }
        for number, step in enumerate(steps):
            for name, weight in step.named_parameters():
                weight.data = part(self._weights[name].detach(), number)
            for name, buffer in step.named_buffers():
                buffer.data = self._buffers[name][number]

    def parameters(self) -> list[Tensor]:
        """Return the stacked weights, in the order of a classifier's own."""
        return list(self._weights.values())

    def step(self, pixels: Tensor, goals: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses (N,) and logits (N, B, K) of each one's images (N, B, C, H, W)."""
        weights = {name: _turned(weight) for name, weight in self._weights.items()}
        return _stepped(self._step, weights, self._buffers, pixels, goals)

    def clip_gradients(self, largest: float) -> None:
        """Scale down the gradients of each classifier whose norm over all its weights is larger."""
        gradients = [weight.grad for weight in self.parameters() if weight.grad is not None]
        norms = [torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients]
        norm = torch.linalg.vector_norm(torch.stack(norms), dim=0)
        factor = (largest / (norm + 1e-6)).clamp(max=1)  # as torch's clip_grad_norm_
        for gradient in gradients:
            gradient.mul_(factor.view(-1, *[1] * (gradient.dim() - 1)))


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Return what an optimizer keeps of each classifier's weight as it keeps that of the stack.

    Matrices (A, B) are stacked as (N, B, A), in the layout in which their gradients are computed.
    """
    return _laid_out(torch.stack(list(parts)))


def part(stacked: Tensor, number: int) -> Tensor:
    """Return a classifier's own part of what `joined` returns, as a view."""
    return _turned(stacked)[number]


def obstacle(
    classifiers: Sequence[Classifier], optimizer: str, pixels: Tensor, targets: Tensor
) -> str | None:
    """Return why the classifiers cannot be stacked; None if they can be.

    Tries a step on the images (B, C, H, W) and targets, without changing the classifiers.
    `optimizer` is the name of its class.
    """
    if optimizer not in ELEMENTWISE:
        return f"{optimizer} may treat the elements of a weight together"
    if any(not weight.dim() for weight in classifiers[0].parameters()):
        return "a weight without dimensions is one number"
    shape = (len(classifiers), *[-1] * pixels.dim())
    images, goals = pixels.expand(shape), targets.expand(shape[: targets.dim() + 1])
    try:
        steps = [_Step(copy.deepcopy(classifier)) for classifier in classifiers]
        weights, buffers = _stacked(steps)
        with torch.no_grad():
            first = copy.deepcopy(steps[0])
            together = (*_stepped(first, weights, buffers, images, goals), *buffers.values())
            alone = [(*step(pixels, targets), *step.buffers()) for step in steps]
    except Exception as error:  # a model may do anything that vmap does not know
        return str(error).partition("\n")[0] or type(error).__name__
    for ours, theirs in zip(together, zip(*alone, strict=True), strict=True):
        if not _are_close(ours.float(), torch.stack(theirs).float()):
            return "stacked models give other numbers"
    return None


def _are_close(ours: Tensor, theirs: Tensor) -> bool:
    finite = theirs.nan_to_num(posinf=0, neginf=0)
    largest = float(finite.abs().max()) if theirs.numel() else 0.0
    return ours.shape == theirs.shape and torch.allclose(
        ours, theirs, rtol=0, atol=TOLERANCE * largest, equal_nan=True
    )


class _Step(nn.Module):
    """What of a classifier's training step can be stacked."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, pixels: Tensor, goals: Tensor) -> tuple[Tensor, Tensor]:
        return self.classifier.loss_of(pixels, goals)


class _AnyLayout(TorchFunctionMode):
    """Leaves the layout of tensors to torch: vmap does not know a model's wish for another one."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        others = {key: value for key, value in (kwargs or {}).items() if key != "memory_format"}
        return func(*args, **others)


def _turned(stacked: Tensor) -> Tensor:
    """Return stacked matrices transposed, as a view, and any others as they are."""
    return stacked.mT if stacked.dim() == MATRICES else stacked


def _laid_out(stacked: Tensor) -> Tensor:
    """Return matrices transposed in memory, too; other weights keep their layout."""
    return _turned(stacked).contiguous() if stacked.dim() == MATRICES else stacked


def _stacked(steps: Sequence[_Step]) -> tuple[State, State]:
    """Return copies of the weights and buffers of all, stacked."""
    weights, buffers = stack_module_state(list(steps))
    return weights, buffers


def _stepped(
    step: _Step, weights: State, buffers: State, pixels: Tensor, goals: Tensor
) -> tuple[Tensor, Tensor]:
    def of_one(weights: State, buffers: State, pixels: Tensor, goals: Tensor) -> Any:
        return functional_call(step, (weights, buffers), (pixels, goals))

    with _AnyLayout():
        return vmap(of_one)(weights, buffers, pixels, goals)
