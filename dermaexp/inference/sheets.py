"""What `explain` shows: pictures, mistakes and class means beside their overlays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from dermaexp.core.text import percent
from dermaexp.data.gray import prepared
from dermaexp.inference.explanation import attributions, method_of, overlay, scaled
from dermaexp.inference.predict import probabilities_of
from dermaexp.inference.trained import TrainedModel
from dermaexp.metrics.labels import (
    answer_text,
    indicators,
    is_correct,
    truth_text,
    worst_answers,
)
from dermaexp.report.explained import explained
from dermaexp.report.stored_run import StoredRun

LEGENDS = {
    "grad_cam": "Grad-CAM: red speaks for {}",
    "integrated_gradients": "integrated gradients: red speaks for {}, blue against it",
}
LONGEST = 40  # characters of a picture's name


class Sheet(NamedTuple):
    """A figure, and the same in numbers for explanation.json."""

    figure: Figure
    content: Any


def of_pictures(
    model: TrainedModel,
    pictures: Mapping[Path, np.ndarray],
    data_title: str,
    target: int | None = None,
) -> Sheet:
    """Explain pictures, RGB (H, W, 3) uint8: the class that is predicted, or that of `target`.

    Of several labels an image, explain the most probable one.
    """
    images = np.stack(list(pictures.values()))
    probabilities = probabilities_of(model, images)
    several = model.task == "multi-label"
    predicted = probabilities.argmax(axis=1)
    targets = predicted if target is None else np.full(len(images), target)
    shown = prepared(images, model.image_shape[0] == 1)
    overlays = _overlays(model, shown, targets)
    rows = [
        {
            "file": str(file),
            "predicted": answer_text(probabilities[place], model.classes, several=several),
            "explained": model.classes[targets[place]],
            "probability": float(probabilities[place, targets[place]]),
        }
        for place, file in enumerate(pictures)
    ]
    captions = [
        f"{_short(Path(row['file']).name)}: {_with_share(row['explained'], row['probability'])}"
        for row in rows
    ]
    most = "the most probable label" if several else "the predicted class"
    what = most if target is None else model.classes[target]
    title = f"{data_title}\n{_legend(model, what)}"
    return Sheet(explained(list(shown), overlays, captions, title=title), rows)


def of_mistakes(model: TrainedModel, run: StoredRun, split: str, top: int) -> Sheet | None:
    """Explain the `top` most confident mistakes, as predictions.npz has them; None without any.

    Of several labels an image, a mistake is the most confident wrong one, present or missed.
    """
    y_true, y_score = run.val if split == "val" else run.test
    predicted, confidence = worst_answers(y_true, y_score)
    wrong = np.flatnonzero(confidence >= 0)
    if not len(wrong):
        return None
    shown = wrong[np.argsort(-confidence[wrong], kind="stable")][:top]
    images, places = run.predicted_images(split)
    overlays = _overlays(model, images[shown], predicted[shown])
    rows = [
        {
            "index": int(places[index]),
            "true": truth_text(y_true[index], model.classes),
            "predicted": model.classes[predicted[index]],
            "probability": float(y_score[index, predicted[index]]),
        }
        for index in shown
    ]
    several = y_true.ndim == 2
    answer, kind = ("wrongly predicted or missed", "label") if several else ("predicted", "class")
    captions = [
        f"{row['true']} \N{RIGHTWARDS ARROW} {_with_share(row['predicted'], row['probability'])}"
        for row in rows
    ]
    title = (
        f"{run.name} on {run.data_title}, {split}: the {len(shown):,} most confident of "
        f"{len(wrong):,} mistakes\n"
        f"true \N{RIGHTWARDS ARROW} {answer}; {_legend(model, f'the {answer} {kind}')}"
    )
    return Sheet(explained(list(images[shown]), overlays, captions, title=title), rows)


def of_class_means(model: TrainedModel, run: StoredRun, split: str) -> Sheet:
    """Average the attributions of each class over its images that are predicted correctly.

    Of several labels an image, over the images that have the label and for which it is predicted.
    Each image's map is scaled to a largest value of 1 first, so that all count alike.
    """
    y_true, y_score = run.val if split == "val" else run.test
    correct, is_class = is_correct(y_true, y_score), indicators(y_true, len(model.classes))
    found = is_class & (correct if y_true.ndim == 2 else correct[:, None])
    images, _ = run.predicted_images(split)
    means, overlays, counts = [], [], {}
    for label, name in enumerate(model.classes):
        own = images[found[:, label]]
        counts[name] = len(own)
        if len(own):
            means.append(own.mean(axis=0).round().astype(np.uint8))
            maps = attributions(model, own, np.full(len(own), label))
            overlays.append(overlay(means[-1], scaled(maps).mean(axis=0)))
    captions = [
        f"{name}, n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{count:,}"
        for name, count in counts.items()
        if count
    ]
    title = (
        f"{run.name} on {run.data_title}, {split}: means of the correctly predicted images\n"
        f"{_legend(model, 'the class')}"
    )
    if none := [name for name, count in counts.items() if not count]:
        title += f"\nnone correct: {', '.join(none)}"
    return Sheet(explained(means, overlays, captions, title=title), counts)


def _overlays(model: TrainedModel, images: np.ndarray, targets: np.ndarray) -> list[np.ndarray]:
    maps = attributions(model, images, targets)
    return [overlay(image, found) for image, found in zip(images, maps, strict=True)]


def _legend(model: TrainedModel, explained: str) -> str:
    return LEGENDS[method_of(model)].format(explained)


def _with_share(name: str, share: float) -> str:
    return f"{name},\N{NO-BREAK SPACE}{percent(share)}"


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"…{name[1 - LONGEST :]}"
