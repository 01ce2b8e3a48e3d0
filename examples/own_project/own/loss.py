"""A loss: logits (N, K) and targets (N,) or (N, K) in, a mean out."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional


class GeneralizedCrossEntropy(nn.Module):
    """(1 - p ** q) / q of the true class: cross-entropy as q nears 0, 1 - p at 1.

    Wrong labels weigh less the larger q is (Zhang and Sabuncu, NeurIPS 2018). `counts` are the
    training images of each class, which this loss does not use.
    """

    def __init__(self, counts: Mapping[str, int], q: float) -> None:
        super().__init__()
        self.q = q

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        if targets.ndim == 1:
            targets = functional.one_hot(targets, logits.shape[1])
        losses = (1 - logits.softmax(dim=1) ** self.q) / self.q
        return (losses * targets).sum(dim=1).mean()
