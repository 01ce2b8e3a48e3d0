"""The training images that a model sees as most like another image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dermaexp.data.mapped import Images
from dermaexp.data.sample import spread
from dermaexp.inference.trained import TrainedModel
from dermaexp.metrics.labels import truth_text

BATCH = 256  # images
MOST_IMAGES = 10_000
MOST_BYTES = 512 * 1024**2  # of all features


@dataclass(frozen=True)
class Neighbour:
    """A training image (H, W, C) uint8 as the model gets it; `place` is its index in train.

    `similarity` is the cosine of the angle between its features and those of the other image.
    """

    place: int
    image: np.ndarray
    class_name: str
    similarity: float


class TrainingImages:
    """The features of training images, to look up the nearest ones.

    Of more images than `MOST_IMAGES`, or than `MOST_BYTES` hold features of, a part with all
    classes is used.
    """

    def __init__(self, model: TrainedModel, images: Images, labels: np.ndarray) -> None:
        """`images` are (N, H, W, C) uint8 as the model gets them, `labels` (N,) or (N, L)."""
        self.features_of = Features(model)
        self.images, self.labels, self.classes = images, labels, model.classes
        size = self.features_of(images[:1]).nbytes
        self.places = spread(labels, max(1, min(MOST_IMAGES, MOST_BYTES // size)))
        starts = range(0, len(self.places), BATCH)
        parts = [self.features_of(images[self.places[start : start + BATCH]]) for start in starts]
        self.features = np.concatenate(parts)

    def nearest(self, image: np.ndarray, count: int) -> list[Neighbour]:
        """Return the `count` images most like `image` (H, W, C), the most similar first."""
        similarities = self.features @ self.features_of(image[None])[0]
        order = np.argsort(-similarities, kind="stable")[:count]
        return [
            Neighbour(
                int(self.places[k]),
                self.images[self.places[k]],
                truth_text(self.labels[self.places[k]], self.classes),
                min(1.0, float(similarities[k])),
            )
            for k in order
        ]


class Features:
    """Maps images (N, H, W, C) uint8 to the inputs (N, D) of the model's last layer.

    They are averaged over positions, if the layer has any, and of length 1.
    """

    def __init__(self, model: TrainedModel) -> None:
        self.model = model
        self.layer = self._last_layer()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        inputs: list[Tensor] = []
        handle = self.layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
        try:
            self._run(images)
        finally:
            handle.remove()
        features = nn.functional.normalize(self._pooled(inputs[-1].float()), dim=1)
        return features.numpy(force=True)

    def _run(self, images: np.ndarray) -> None:
        device = self.model.mean.device
        with torch.inference_mode():
            batch = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).to(device)
            self.model.logits(self.model.prepared(batch))

    def _last_layer(self) -> nn.Module:
        """Return the module with weights of its own that starts last; the model if none has."""
        started: list[nn.Module] = [self.model.net]

        def note(module: nn.Module, given: Sequence[Any]) -> None:
            if given and isinstance(given[0], Tensor):
                started.append(module)

        handles = [
            module.register_forward_pre_hook(note)
            for module in self.model.net.modules()
            if any(True for _ in module.parameters(recurse=False))
        ]
        try:
            channels, height, width = self.model.image_shape
            self._run(np.zeros((1, height, width, channels), np.uint8))
        finally:
            for handle in handles:
                handle.remove()
        return started[-1]

    def _pooled(self, inputs: Tensor) -> Tensor:
        """Return (N, D) of maps (N, D, H, W), of tokens (N, T, D) or of (N, D)."""
        if isinstance(self.layer, nn.Conv2d):
            return inputs.flatten(2).mean(dim=2)
        return inputs.flatten(1, -2).mean(dim=1) if inputs.ndim > 2 else inputs
