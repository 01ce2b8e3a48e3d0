"""Indicators of several labels an image: checked, divided, limited and sampled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf
from PIL import Image

from dermaexp.core.errors import UserError
from dermaexp.data import npz
from dermaexp.data.datamodule import ImageDataModule
from dermaexp.data.division import missing_classes, split_up
from dermaexp.data.how import How
from dermaexp.data.load import load_splits
from dermaexp.data.pool import pooled
from dermaexp.data.sample import spread
from dermaexp.data.splits import SPLITS, Grouping, Splits, checked_splits

NAMES = ("common", "rare", "pair")
generator = np.random.default_rng(0)
LABELS = (generator.random((100, 3)) < (0.5, 0.1, 0.3)).astype(np.int64)
IMAGES = np.zeros((100, 4, 4), np.uint8)
IMAGES[:, 0, 0] = np.arange(100)


def splits_of(labels: np.ndarray = LABELS, **own) -> Splits:
    arrays = {split: (IMAGES[: len(labels)], labels) for split in SPLITS}
    return checked_splits("Set", NAMES, arrays, origin="here", **own)


def test_columns_of_0_and_1_are_labels() -> None:
    splits = splits_of()
    assert splits.task == splits.record["task"] == "multi-label"
    assert splits.train.labels.tolist() == LABELS.tolist()
    assert splits_of(np.asfortranarray(LABELS)).fingerprint == splits.fingerprint
    assert splits_of(LABELS[:, ::-1]).fingerprint != splits.fingerprint
    assert splits_of(LABELS[:, 0], task="multi-label").task == "multi-class"
    assert splits_of(task="ordinal").task == "multi-label"


def test_two_classes_are_binary() -> None:
    arrays = dict.fromkeys(SPLITS, (IMAGES, LABELS[:, 0]))
    assert checked_splits("Set", ("a", "b"), arrays, origin="here").task == "binary"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS[:, :2], "labels have 2 columns, but 3 names are given"),
        (LABELS + 1, "labels in several columns hold 2: expected 0 or 1 in each"),
        (LABELS - 1, "labels in several columns hold -1: expected 0 or 1 in each"),
    ],
)
def test_what_is_no_label_is_refused(labels: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        splits_of(labels)


def test_columns_of_a_file_are_numbered(tmp_path: Path) -> None:
    arrays = {}
    for split in SPLITS:
        arrays |= {f"{split}_images": IMAGES, f"{split}_labels": LABELS.astype(np.uint8)}
    np.savez(tmp_path / "several.npz", **arrays)
    splits = npz.load(str(tmp_path / "several.npz"))
    assert splits.classes == ("label 0", "label 1", "label 2")
    assert splits.task == "multi-label"


def test_a_table_of_several_labels_is_a_set_of_them(tmp_path: Path) -> None:
    for index in range(20):
        Image.new("L", (6, 6), index).save(tmp_path / f"{index}.png")
    words = ["a", "b|c", "c", "a|b|c"] * 5
    table = pd.DataFrame({"image": range(20), "label": words})
    table.to_csv(tmp_path / "table.csv", index=False)
    config = {"_target_": "dermaexp.data.table.load", "table": str(tmp_path / "table.csv")}
    dataset = OmegaConf.create({**config, "split": "random", "grayscale": True, "normalize": False})
    splits = load_splits(dataset)
    assert splits.task == "multi-label"
    assert splits.classes == ("a", "b", "c")
    joined = np.concatenate([splits[split].labels for split in SPLITS])
    assert joined.sum(axis=0).tolist() == [10, 10, 15]


def test_own_classes_can_be_in_order(tmp_path: Path) -> None:
    arrays = {}
    for split in SPLITS:
        arrays |= {f"{split}_images": IMAGES, f"{split}_labels": LABELS.sum(axis=1)}
    np.savez(tmp_path / "grades.npz", **arrays)
    np.savez(tmp_path / "labels.npz", **arrays | {f"{s}_labels": LABELS for s in SPLITS})
    config = {"_target_": "dermaexp.data.npz.load", "grayscale": True, "normalize": False}
    grades = config | {"path": str(tmp_path / "grades.npz")}
    assert load_splits(OmegaConf.create(grades)).task == "multi-class"
    assert load_splits(OmegaConf.create(grades | {"task": "ordinal"})).task == "ordinal"
    several = config | {"path": str(tmp_path / "labels.npz"), "task": "ordinal"}
    with pytest.raises(UserError, match="an image of labels has several labels: expected null"):
        load_splits(OmegaConf.create(several))


def test_divisions_are_stratified_by_the_rarest_label() -> None:
    """A tenth of the images have the rare label, and so has each part."""
    rare = np.zeros((90, 3), np.int64)
    rare[:, 0], rare[::9, 1] = 1, 1
    groups = np.array([f"g{k}" for k in range(90)], object)
    own = splits_of(rare)
    grouping = Grouping("groups.csv", "lesion_id", "f" * 64)
    known = Splits(
        "Set",
        NAMES,
        *(type(own.train)(own[s].images, rare, groups) for s in SPLITS),
        task="multi-label",
        grouping=grouping,
    )
    for how in (How("random"), How("grouped", folds=3, fold=1)):
        splits = split_up(pooled(known), how)
        assert splits.task == "multi-label"
        for split in SPLITS:
            assert splits[split].labels[:, 1].mean() == pytest.approx(1 / 9, abs=0.03)
    assert [note.text.split(":")[0] for note in missing_classes(own)] == []


def test_a_limited_run_has_each_label() -> None:
    chosen = spread(LABELS, 12)
    assert len(chosen) == 12
    assert (LABELS[chosen].sum(axis=0) > 0).all()
    assert (LABELS[chosen].sum(axis=1) == 0).any(), "and an image without any"


def test_batches_hold_indicators_and_balance_counts_the_rarest_label() -> None:
    data = ImageDataModule(splits_of(), batch_size=8, grayscale=True, seed=0, balance=1.0)
    assert data.class_counts == dict(zip(NAMES, LABELS.sum(axis=0).tolist(), strict=True))
    _, labels, indices = next(iter(data.val_dataloader()))
    assert labels.tolist() == LABELS[indices].tolist()
    weights = data._weights()
    rare, none = LABELS[:, 1] == 1, ~LABELS.any(axis=1)
    assert weights[rare].sum().item() == pytest.approx(1)
    assert weights[none].sum().item() == pytest.approx(1)
