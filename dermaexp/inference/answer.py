"""What a model makes of one picture: its probabilities, why, and the most similar images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dermaexp.core.errors import UserError
from dermaexp.data.gray import prepared
from dermaexp.inference.explanation import attributions, overlay
from dermaexp.inference.neighbours import Neighbour, TrainingImages
from dermaexp.inference.predict import picture_of, probabilities_of
from dermaexp.inference.trained import TrainedModel

SHOWN = 5  # neighbours


@dataclass(frozen=True)
class Answer:
    """The answer to one picture.

    `seen` (H, W, 3) uint8 is what the model gets of it, gray if the model's images are gray.
    `overlay` (H, W, 3) uint8 marks in it what speaks for `predicted`, the most probable class or
    label, and against it if `has_negative`. `probabilities` (K,) are calibrated if the run is.
    """

    seen: np.ndarray
    overlay: np.ndarray
    has_negative: bool
    probabilities: np.ndarray
    neighbours: list[Neighbour]

    @property
    def predicted(self) -> int:
        return int(self.probabilities.argmax())


def answer(
    model: TrainedModel, picture: Path | np.ndarray, training: TrainingImages | None = None
) -> Answer:
    """Return the answer to a file, or to uint8 (H, W) or (H, W, C), of any size.

    Has no neighbours without `training`. Raises UserError for a file that is no picture; the line
    begins with the file's name, without its folder.
    """
    try:
        rgb = np.array(
            picture_of(picture, model.image_shape[1:], model.background)
        )  # writable, as torch asks for
    except UserError as error:
        if not isinstance(picture, Path):
            raise
        raise UserError(str(error).replace(str(picture), picture.name)) from error
    (probabilities,) = probabilities_of(model, rgb[None])
    own = prepared(rgb[None], grayscale=model.image_shape[0] == 1)
    (attribution,) = attributions(model, own, probabilities[None].argmax(axis=1))
    return Answer(
        rgb_of(own[0]),
        overlay(own[0], attribution),
        bool((attribution < 0).any()),
        probabilities,
        training.nearest(own[0], SHOWN) if training else [],
    )


def rgb_of(image: np.ndarray) -> np.ndarray:
    """Return (H, W, 3) of (H, W, 1) or (H, W, 3)."""
    return np.broadcast_to(image, (*image.shape[:2], 3))
