"""Labels of an image, one or several, and the answers to them.

`targets` are (N,) integers in 0..K-1, or indicators (N, L), 1 where the image has the label. Each
label is then a question of its own: `probabilities` (N, L) do not sum to 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

THRESHOLD = 0.5  # above which a label of several is predicted, as in `medmnist.Evaluator`


def indicators(targets: np.ndarray, classes: int) -> np.ndarray:
    """Whether each image has each class or label, (N, K) bool."""
    if targets.ndim == 2:
        return targets.astype(bool)
    return targets[:, None] == np.arange(classes)


def answers(probabilities: np.ndarray) -> np.ndarray:
    """Whether each label is predicted, (N, L) bool, of labels that an image has several of."""
    return probabilities > THRESHOLD


def is_correct(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Whether each image is predicted correctly (N,), or each of its labels (N, L)."""
    if targets.ndim == 2:
        return answers(probabilities) == targets.astype(bool)
    return probabilities.argmax(axis=1) == targets


def majority(train_targets: np.ndarray) -> np.ndarray:
    """What the baseline always predicts: the most frequent class (), the first if there is a tie.

    Of several labels an image, the indicators (L,) of those that most training images have.
    """
    if train_targets.ndim == 2:
        return (2 * train_targets.sum(axis=0) > len(train_targets)).astype(np.int64)
    return np.asarray(np.bincount(train_targets).argmax())


def answer_text(probabilities: np.ndarray, classes: Sequence[str], *, several: bool) -> str:
    """The most probable class of probabilities (K,), or all labels that are predicted."""
    if several:
        return names_of(answers(probabilities), classes)
    return classes[int(probabilities.argmax())]


def truth_text(target: np.ndarray, classes: Sequence[str]) -> str:
    """The name of a class (), or those of the labels that indicators (L,) mark."""
    return classes[int(target)] if np.ndim(target) == 0 else names_of(target == 1, classes)


def worst_answers(targets: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The most confident wrong answer (N,) to each image, and the confidence in it; -1 without any.

    Of several labels an image, confidence is the probability of the wrong answer, present or
    absent.
    """
    if targets.ndim == 1:
        predicted = probabilities.argmax(axis=1)
        confidence = probabilities[np.arange(len(targets)), predicted]
        return predicted, np.where(predicted == targets, -1.0, confidence)
    confidence = np.where(answers(probabilities), probabilities, 1 - probabilities)
    wrong = np.where(is_correct(targets, probabilities), -1.0, confidence)
    return wrong.argmax(axis=1), wrong.max(axis=1)


def names_of(predicted: np.ndarray, classes: Sequence[str]) -> str:
    """The labels that are predicted, (L,) bool, such as "Mass, Nodule"; "none" without any."""
    return ", ".join(name for name, own in zip(classes, predicted, strict=True) if own) or "none"
