"""Small inputs of metrics and figures."""

from __future__ import annotations

import numpy as np

CLASSES = 3
LESIONS = ("actinic keratoses and intraepithelial carcinoma", "melanoma", "melanocytic nevi")
CONFUSION = np.array([[6, 2, 2], [1, 30, 9], [0, 5, 145]])


def small_arrays() -> dict[str, np.ndarray]:
    """A MedMNIST-like file's arrays: 12 px, three classes of other brightness, more of class 1."""
    generator = np.random.default_rng(0)
    content = {}
    for split, samples in (("train", 120), ("val", 40), ("test", 50)):
        labels = generator.choice(CLASSES, samples, p=(0.25, 0.5, 0.25))
        noise = generator.integers(0, 90, (samples, 12, 12, 3))
        content[f"{split}_images"] = (noise + 60 * labels[:, None, None, None]).astype(np.uint8)
        content[f"{split}_labels"] = labels.astype(np.uint8)[:, None]
    return content


def random_predictions(
    samples: int, classes: int, seed: int, digits: int | None = None, scale: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Targets, and probabilities that know a little of them; `digits` rounds scores into ties.

    Probabilities are float32, as a model's: at a large `scale` many of them are exactly 0 or 1.
    """
    generator = np.random.default_rng(seed)
    targets = generator.choice(classes, samples, p=generator.dirichlet(np.full(classes, 5.0)))
    logits = generator.normal(size=(samples, classes)) + np.eye(classes)[targets]
    if digits is not None:
        logits = logits.round(digits)
    exponentials = np.exp((scale * logits).astype(np.float32))
    return targets, (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)


def history(epochs: int, best: int) -> list[dict[str, float]]:
    return [
        {
            "epoch": epoch,
            "train_loss": 1 / epoch,
            "train_accuracy": epoch / 10,
            "val_loss": 2 / epoch,
            "val_accuracy": epoch / 20,
            "val_macro_auroc": 0.9 if epoch == best else 0.5,
        }
        for epoch in range(1, epochs + 1)
    ]
