"""medmnist/: the predictions as the result files that `medmnist.Evaluator` reads."""

from __future__ import annotations

import numpy as np
from pytorch_lightning import Callback, LightningModule, Trainer

from dermaexp.data.splits import Splits
from dermaexp.metrics import classification
from dermaexp.metrics.labels import is_correct
from dermaexp.report.current_run import CurrentRun
from dermaexp.runs.directory import RunDirectory


class MedMNISTResult(Callback):
    """Writes the result files of val and test if the data are a whole MedMNIST set."""

    changes_numbers = False

    def on_test_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.is_global_zero:
            run = CurrentRun(trainer, module)
            for split, predictions in run.predictions.items():
                write_medmnist_result(run.directory, run.name, run.data.splits, split, *predictions)


def write_medmnist_result(
    directory: RunDirectory,
    name: str,
    splits: Splits,
    split: str,
    y_true: np.ndarray,
    y_score: np.ndarray,
) -> None:
    """Write the result file of the run `name` on `split`: FLAG_SPLIT_[AUC]…_[ACC]…@NAME.csv.

    Writes nothing unless `splits` are a MedMNIST set, and `y_true` (N,) or (N, L) and `y_score`
    (N, K) cover all of the split, as the file's reader takes the labels from the set's own file.
    """
    if splits.medmnist_flag is None or len(y_true) != len(splits[split]):
        return
    size = splits[split].images.shape[1]
    flag = splits.medmnist_flag + ("" if size == 28 else f"_{size}")
    auc = classification.macro_auroc(y_true, y_score)
    acc = is_correct(y_true, y_score).mean()
    directory.write_medmnist_result(f"{flag}_{split}_[AUC]{auc:.3f}_[ACC]{acc:.3f}", name, y_score)
