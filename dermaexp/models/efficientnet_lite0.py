"""EfficientNet-Lite0, timm's form of it, whose ImageNet weights are a package: no hub is needed.

Tan & Le, 2019; the lite form is without squeeze-and-excitation and with ReLU6.
"""

from __future__ import annotations

from dermaexp.core import rules
from dermaexp.models import timm_net
from dermaexp.models.adapter import Backbone
from dermaexp.models.config import EfficientNetLite0Config

ARCH = "tf_efficientnet_lite0"


def build(
    image_shape: tuple[int, int, int],
    classes: int,
    weights: str | None = "DEFAULT",
    size: int | None = 224,
    standardised: bool = False,
) -> Backbone:
    """Return the model for images (C, H, W), without its weights, which `models.weights` loads.

    With any `weights`, images are standardised by mean and std 0.5 unless they are `standardised`
    already. `size` is the side to which they are scaled; the weights are made for 224.
    """
    rules.check(EfficientNetLite0Config, {"weights": weights, "size": size}, "model")
    file = None if weights is None else f"{ARCH}.pth"
    return timm_net.build(image_shape, classes, ARCH, file, size, standardised)
