"""The numbers of data with several labels an image, each against its absence.

`targets` are indicators (N, L), `probabilities` (N, L) those of the labels; a label is predicted
above 0.5. A label that no image or every image has is left out of means that it is undefined in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import (
    f1_score,
    multilabel_confusion_matrix,
    precision_recall_fscore_support,
)

from dermaexp.metrics import classification, curves, intervals, resampling, significance
from dermaexp.metrics.labels import answers, is_correct, majority


def headline_scores(targets: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """The numbers that have a baseline, by the names in `names.headlines`.

    Accuracy is the share of all labels of all images, equal to the ACC of `medmnist.Evaluator`;
    subset accuracy the share of images with all labels correct. Balanced accuracy is the mean over
    the labels of (sensitivity + specificity) / 2.
    """
    correct = is_correct(targets, probabilities)
    average_precisions = [
        curves.average_precision(*pair) for pair in zip(targets.T, probabilities.T, strict=True)
    ]
    f1 = f1_score(targets, answers(probabilities), average=None, zero_division=np.nan)
    sides = _sides(multilabel_confusion_matrix(targets, answers(probabilities)))
    return {
        "accuracy": float(correct.mean()),
        "balanced_accuracy": classification.defined_mean(sides.mean(axis=0)),
        "macro_auroc": classification.macro_auroc(targets, probabilities),
        "macro_f1": classification.defined_mean(f1),
        "subset_accuracy": float(correct.all(axis=1).mean()),
        "macro_average_precision": classification.defined_mean(np.array(average_precisions)),
    }


def split_metrics(
    targets: np.ndarray,
    probabilities: np.ndarray,
    train_targets: np.ndarray,
    classes: Sequence[str],
) -> dict[str, Any]:
    """The numbers of one split as metrics.json holds them; all intervals are 95 %.

    `baseline` are those of always predicting the labels that most training images have, and
    `baseline_p` is the p of equal accuracy, two-sided, by sign flips of the images.
    """
    correct = is_correct(targets, probabilities)
    constant = np.broadcast_to(majority(train_targets), targets.shape).astype(np.float32)
    found = per_label(targets, probabilities, classes)
    scores = headline_scores(targets, probabilities)
    right = int(correct.all(axis=1).sum())
    return {
        "loss": classification.cross_entropy(targets, probabilities),
        **scores,
        "expected_calibration_error": classification.expected_calibration_error(
            targets, probabilities
        ),
        "intervals": {
            **intervals.bootstrap_intervals(targets, probabilities),
            "subset_accuracy": intervals.wilson_interval(right, len(targets)),
            "macro_average_precision": intervals.unbiased_interval(
                resampling.bootstrap_average_precision(targets, probabilities, intervals.RESAMPLES)
                if targets.any()
                else np.full(1, np.nan),
                scores["macro_average_precision"],
            ),
        },
        "per_class_accuracy": dict(zip(classes, correct.mean(axis=0).tolist(), strict=True)),
        "per_class": found,
        "confusion_matrices": multilabel_confusion_matrix(targets, answers(probabilities)).tolist(),
        "baseline": headline_scores(targets, constant),
        "baseline_p": significance.sign_flip_exact(correct[None], (constant == targets)[None]),
    }


def per_label(
    targets: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Maps each label to its numbers, with intervals as of `classification.per_class`."""
    counts = multilabel_confusion_matrix(targets, answers(probabilities))
    precision, recall, f1, samples = precision_recall_fscore_support(
        targets, answers(probabilities), average=None, zero_division=np.nan
    )
    aurocs = classification.class_auroc(targets, probabilities)
    specificity = _sides(counts)[1]
    found = {}
    for label, name in enumerate(classes):
        (absent, false), (_, hits) = counts[label].tolist()
        found[name] = {
            "samples": int(samples[label]),
            "recall": float(recall[label]),
            "specificity": float(specificity[label]),
            "precision": float(precision[label]),
            "f1": float(f1[label]),
            "intervals": {
                "recall": intervals.wilson_interval(hits, int(samples[label])),
                "specificity": intervals.wilson_interval(absent, absent + false),
                "precision": intervals.wilson_interval(hits, hits + false),
            },
        }
        classification.add_curve_numbers(
            found[name], targets[:, label] == 1, probabilities[:, label], aurocs[label]
        )
    return found


def _sides(counts: np.ndarray) -> np.ndarray:
    """Sensitivity and specificity (2, L) from 2x2 tables (L, 2, 2), NaN where undefined."""
    of_side = np.array([classification.recalls(table) for table in counts])
    return of_side[:, ::-1].T
