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
    """Explain pictures, RGB (H, W, 3) uint8: the class that is predicted, or that of `target`."""
    images = np.stack(list(pictures.values()))
    probabilities = probabilities_of(model, images)
    predicted = probabilities.argmax(axis=1)
    targets = predicted if target is None else np.full(len(images), target)
    shown = prepared(images, model.image_shape[0] == 1)
    overlays = _overlays(model, shown, targets)
    rows = [
        {
            "file": str(file),
            "predicted": model.classes[predicted[place]],
            "explained": model.classes[targets[place]],
            "probability": float(probabilities[place, targets[place]]),
        }
        for place, file in enumerate(pictures)
    ]
    captions = [
        f"{_short(Path(row['file']).name)}: {_with_share(row['explained'], row['probability'])}"
        for row in rows
    ]
    what = "the predicted class" if target is None else model.classes[target]
    title = f"{data_title}\n{_legend(model, what)}"
    return Sheet(explained(list(shown), overlays, captions, title=title), rows)


def of_mistakes(model: TrainedModel, run: StoredRun, split: str, top: int) -> Sheet | None:
    """Explain the `top` most confident mistakes, as predictions.npz has them; None without any."""
    y_true, y_score = run.val if split == "val" else run.test
    predicted = y_score.argmax(axis=1)
    wrong = np.flatnonzero(predicted != y_true)
    if not len(wrong):
        return None
    shown = wrong[np.argsort(-y_score[wrong, predicted[wrong]], kind="stable")][:top]
    images, places = run.predicted_images(split)
    overlays = _overlays(model, images[shown], predicted[shown])
    rows = [
        {
            "index": int(places[index]),
            "true": model.classes[y_true[index]],
            "predicted": model.classes[predicted[index]],
            "probability": float(y_score[index, predicted[index]]),
        }
        for index in shown
    ]
    captions = [
        f"{row['true']} \N{RIGHTWARDS ARROW} {_with_share(row['predicted'], row['probability'])}"
        for row in rows
    ]
    title = (
        f"{run.name} on {run.data_title}, {split}: the {len(shown):,} most confident of "
        f"{len(wrong):,} mistakes\n"
        f"true \N{RIGHTWARDS ARROW} predicted; {_legend(model, 'the predicted class')}"
    )
    return Sheet(explained(list(images[shown]), overlays, captions, title=title), rows)


def of_class_means(model: TrainedModel, run: StoredRun, split: str) -> Sheet:
    """Average the attributions of each class over its images that are predicted correctly.

    Each image's map is scaled to a largest value of 1 first, so that all count alike.
    """
    y_true, y_score = run.val if split == "val" else run.test
    correct = y_score.argmax(axis=1) == y_true
    images, _ = run.predicted_images(split)
    means, overlays, counts = [], [], {}
    for label, name in enumerate(model.classes):
        own = images[correct & (y_true == label)]
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
