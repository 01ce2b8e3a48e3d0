"""Fine-tuning: which part of a model is frozen for how long, and its learning rates by depth."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import nn
from torch.nn import Parameter
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer

from dermaexp.core import rules
from dermaexp.core.errors import UserError
from dermaexp.models.depth import blocks_of, body_of, head_of
from dermaexp.training.config import FinetuneConfig

FACTOR = "lr_factor"  # of a parameter group: its learning rate as a multiple of optimizer.lr


class Finetune:
    """Trains the last layer first or faster than the body, which is all of the model before it.

    The body is frozen in the first `frozen_epochs`, None for all. Its learning rate is `body_lr`
    times that of the last layer, and falls by `decay` from each block to the one before it.
    """

    def __init__(
        self, frozen_epochs: int | None = 0, body_lr: float = 1.0, decay: float = 1.0
    ) -> None:
        given = {"frozen_epochs": frozen_epochs, "body_lr": body_lr, "decay": decay}
        rules.check(FinetuneConfig, given, "finetune")
        self.frozen_epochs = frozen_epochs
        self.body_lr = body_lr
        self.decay = decay

    def is_frozen(self, epoch: int) -> bool:
        """Whether the body is frozen in the `epoch`, from 0."""
        return self.frozen_epochs is None or epoch < self.frozen_epochs

    def groups(
        self, net: nn.Module, head: str, others: Iterable[Parameter] = ()
    ) -> list[dict[str, Any]]:
        """Return the parameter groups of an optimizer, each with its factor; the last layer first.

        All are there from the beginning, as schedules do not know groups that are added later. A
        body that stays frozen is left out. `others` are trained as the last layer is.
        """
        last = [*net.get_submodule(head).parameters(), *others]
        by_factor = {1.0: last}
        blocks = blocks_of(net, head) if self.frozen_epochs is not None else []
        for distance, block in enumerate(reversed(blocks), start=1):
            factor = self.body_lr * self.decay**distance
            by_factor.setdefault(factor, []).extend(block)
        return [{"params": group, FACTOR: factor} for factor, group in by_factor.items()]


def scale_learning_rates(optimizer: Optimizer) -> None:
    """Multiply the learning rate of each group by its factor; before a schedule reads them."""
    for group in optimizer.param_groups:
        group["lr"] *= group.get(FACTOR, 1.0)


def checked_head(net: nn.Module, classes: int) -> str:
    """Return the name of the last layer of `net`; UserError where it has none."""
    head = head_of(net, classes)
    if head is None:
        raise UserError(
            f"finetune needs a last layer with {classes} outputs, one for each class, which this "
            "model does not have: give finetune=none or another model"
        )
    return head


class Freeze(Callback):
    """Freezes the body as `finetune` says: its weights and its batch normalisation's statistics.

    What is frozen depends on the epoch alone: a resumed training needs no state. Lightning's
    BaseFinetuning adds parameter groups when it unfreezes, which schedules would not know of.
    Dropout stays on. What the model itself froze stays frozen.
    """

    def __init__(self, finetune: Finetune) -> None:
        self.finetune = finetune
        self.drops_gradients = False
        self.trainable: set[str] = set()  # names of the body's parameters

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        head = f"net.{pl_module.head}."
        self.trainable = {
            name
            for name, parameter in pl_module.named_parameters()
            if parameter.requires_grad and name.startswith("net.") and not name.startswith(head)
        }
        if self.finetune.frozen_epochs is None:
            self._require_gradients(pl_module, False)  # before DDP looks at them

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        frozen = self.finetune.is_frozen(trainer.current_epoch)
        self.drops_gradients = False
        if self.finetune.frozen_epochs is not None:
            # DDP synchronises what needs gradients when it starts, and never more.
            self.drops_gradients = frozen and trainer.world_size > 1
            self._require_gradients(pl_module, not frozen or trainer.world_size > 1)
        # Anew each time: synchronised batch normalisation takes the place of some modules.
        for module in body_of(cast(nn.Module, pl_module.net), str(pl_module.head)):
            if isinstance(module, _NormBase):
                module.train(not frozen)

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.drops_gradients:
            for parameter in self._parameters(pl_module):
                parameter.grad = None

    def _require_gradients(self, classifier: LightningModule, required: bool) -> None:
        for parameter in self._parameters(classifier):
            parameter.requires_grad_(required)

    def _parameters(self, classifier: LightningModule) -> list[Parameter]:
        return [own for name, own in classifier.named_parameters() if name in self.trainable]
