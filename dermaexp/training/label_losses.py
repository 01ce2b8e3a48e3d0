"""Training losses of several labels an image: from logits (N, L) and targets (N, L) to one number.

Each label is a question of its own, of which mixed images have shares. A loss of one label an image
has its counterpart here, which takes the same options, `counts` of the training images that have
each label, and the number of training `images`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from dermaexp.core.errors import UserError
from dermaexp.training.losses import check_weights


class BinaryCrossEntropy(nn.Module):
    """The mean of the labels' binary cross-entropy; `label_smoothing` moves targets towards 1/2."""

    def __init__(
        self, counts: Mapping[str, int], images: int, label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(
            logits, _smoothed(targets, self.label_smoothing)
        )


class WeightedBinaryCrossEntropy(nn.Module):
    """Binary cross-entropy that weights a label's presence by (absent / present) ** `power`.

    The numbers are those of training images: with `power` 1 presence and absence of each label
    weigh the same. `weights` instead weight the labels, which weigh 1 on average.
    """

    def __init__(
        self,
        counts: Mapping[str, int],
        images: int,
        power: float = 1.0,
        weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        present = torch.tensor(list(counts.values()), dtype=torch.float64)
        of_label, of_presence = torch.ones_like(present), torch.ones_like(present)
        if weights is None:
            missing = [name for name, count in counts.items() if not count]
            if missing and power:
                raise UserError(
                    f"loss=weighted weighs {', '.join(map(repr, missing))}, which no training "
                    "image has: expected images of every label; give loss=cross_entropy"
                )
            of_presence = ((images - present) / present) ** power
        else:
            check_weights(weights, counts)
            of_label = torch.tensor(list(weights), dtype=torch.float64)
            of_label = of_label / of_label.mean()
        self.of_label: Tensor
        self.of_presence: Tensor
        self.register_buffer("of_label", of_label.float(), persistent=False)
        self.register_buffer("of_presence", of_presence.float(), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(
            logits,
            _smoothed(targets, self.label_smoothing),
            weight=self.of_label,
            pos_weight=self.of_presence,
        )


class BinaryFocalLoss(nn.Module):
    """Binary cross-entropy that weights confident, right answers less, by (1 - p) ** `gamma`.

    Lin et al., ICCV 2017, without their weight of presence; the mean of all labels.
    """

    def __init__(
        self,
        counts: Mapping[str, int],
        images: int,
        gamma: float = 2.0,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.gamma = gamma
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        shares = _smoothed(targets, self.label_smoothing)
        of_present = torch.sigmoid(-logits) ** self.gamma * functional.softplus(-logits)
        of_absent = torch.sigmoid(logits) ** self.gamma * functional.softplus(logits)
        return (shares * of_present + (1 - shares) * of_absent).mean()


COUNTERPARTS = {  # of a loss of one label an image, by the _target_ of both
    "dermaexp.training.losses.CrossEntropy": BinaryCrossEntropy,
    "dermaexp.training.losses.WeightedCrossEntropy": WeightedBinaryCrossEntropy,
    "dermaexp.training.losses.FocalLoss": BinaryFocalLoss,
}
UNSUITED = {  # -> why
    "dermaexp.training.losses.LogitAdjusted": "loss=logit_adjusted shifts the classes' odds against"
    " each other"
}


def _smoothed(targets: Tensor, smoothing: float) -> Tensor:
    return targets.float() * (1 - smoothing) + smoothing / 2
