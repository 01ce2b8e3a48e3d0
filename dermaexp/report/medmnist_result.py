"""medmnist/: the predictions as the result files that `medmnist.Evaluator` reads."""

from __future__ import annotations

import numpy as np
from pytorch_lightning import Callback, LightningModule, Trainer

from dermaexp.data.splits import Splits
from dermaexp.metrics import classification
from dermaexp.runs.directory import RunDirectory


class MedMNISTResult(Callback):
    """Writes a file each of val and test, where the data are a MedMNIST set and all of it."""

    changes_numbers = False

    def on_test_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.is_global_zero:
            directory = RunDirectory(trainer.default_root_dir)
            name = directory.read_run()["name"]
            for split in ("val", "test"):
                write_medmnist_result(
                    directory, name, trainer.datamodule.splits, split, *module.predictions[split]
                )


def write_medmnist_result(
    directory: RunDirectory,
    name: str,
    splits: Splits,
    split: str,
    targets: np.ndarray,
    probabilities: np.ndarray,
) -> None:
    """The standard result file of the run `name` on `split`: FLAG_SPLIT_[AUC]…_[ACC]…@NAME.csv.

    Nothing where `splits` are no MedMNIST set, or `targets` (N,) and `probabilities` (N, K) those
    of a part of it: the file's reader takes the answers from the set's own file.
    """
    if splits.medmnist_flag is None or len(targets) != len(splits[split]):
        return
    size = splits[split].images.shape[1]
    flag = splits.medmnist_flag + ("" if size == 28 else f"_{size}")
    confusion = classification.confusion_matrix(
        targets, probabilities.argmax(axis=1), probabilities.shape[1]
    )
    auc, acc = (
        classification.macro_auroc(targets, probabilities),
        classification.accuracy(confusion),
    )
    stem = f"{flag}_{split}_[AUC]{auc:.3f}_[ACC]{acc:.3f}"
    directory.write_medmnist_result(stem, name, probabilities)
