"""How images become train, val and test: random and corrected splits of a pool."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from dermaexp.core.errors import UserError
from dermaexp.data import npz
from dermaexp.data.division import split_up
from dermaexp.data.how import How
from dermaexp.data.lesion_groups import leaked, with_lesion_groups
from dermaexp.data.pool import Joined, Pool
from dermaexp.data.random_split import strata
from dermaexp.data.splits import SPLITS, Grouping, Splits

LABELS = np.repeat([0, 1, 2], [60, 30, 10])


def pool_of(labels: np.ndarray, **own) -> Pool:
    """Images that hold their own number, so that each can be found again."""
    images = np.zeros((len(labels), 2, 2, 1), np.uint8)
    images[:, 0, 0, 0] = np.arange(len(labels))
    return Pool("Pool", tuple("abc"), images, labels, "f" * 64, **own)


def numbers(splits: Splits) -> dict[str, list[int]]:
    """The number of each image, which its label must go with."""
    return {split: splits[split].images[:, 0, 0, 0].tolist() for split in SPLITS}


def test_random_split_is_stratified_as_that_of_scikit_learn() -> None:
    splits = split_up(pool_of(LABELS), How("random"))
    found = numbers(splits)
    assert sorted(found["train"] + found["val"] + found["test"]) == list(range(100))
    for split in SPLITS:
        assert splits[split].labels.tolist() == LABELS[found[split]].tolist()
    train, rest = train_test_split(LABELS, train_size=0.7, stratify=LABELS, random_state=0)
    val, test = train_test_split(rest, train_size=1 / 3, stratify=rest, random_state=0)
    for split, expected in zip(SPLITS, (train, val, test), strict=True):
        counts = np.bincount(splits[split].labels, minlength=3)
        assert counts == pytest.approx(np.bincount(expected, minlength=3), abs=1)
    assert splits.name == "Pool, random split 0"
    assert splits.record["split"] == {
        "kind": "random",
        "shares": (0.7, 0.1, 0.2),
        "split_seed": 0,
        "pool_fingerprint": "f" * 64,
    }


def test_random_split_follows_its_seed_and_shares_alone() -> None:
    first = numbers(split_up(pool_of(LABELS), How("random", split_seed=1)))
    np.random.seed(5)
    assert numbers(split_up(pool_of(LABELS), How("random", split_seed=1))) == first
    assert numbers(split_up(pool_of(LABELS), How("random", split_seed=2))) != first
    halves = split_up(pool_of(LABELS), How("random", shares=(0.5, 0.25, 0.25)))
    assert [len(halves[split]) for split in SPLITS] == pytest.approx([50, 25, 25], abs=2)
    with pytest.raises(UserError, match=r"leaves val of Pool without an image: 2 images are too"):
        split_up(pool_of(LABELS[:2]), How("random", shares=(0.6, 0.1, 0.3)))


def test_random_split_keeps_lesions_whole_and_does_not_depend_on_order() -> None:
    labels = np.repeat([0, 1], [60, 40])
    lesions = np.array([f"{label}-{k // 3}" for k, label in enumerate(labels)])
    grouping = Grouping("t.csv", "lesion", "g" * 64)
    pool = pool_of(labels, lesion_groups=lesions, grouping=grouping)
    splits = split_up(pool, How("random", split_seed=3))
    groups = [set(splits.lesion_groups(split)) for split in SPLITS]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    for split, share in zip(SPLITS, (0.7, 0.1, 0.2), strict=True):
        assert np.bincount(splits[split].labels) == pytest.approx(share * np.array([60, 40]), abs=2)
    order = np.random.default_rng(0).permutation(100)
    shuffled = replace(
        pool, images=pool.images[order], labels=labels[order], lesion_groups=lesions[order]
    )
    again = numbers(split_up(shuffled, How("random", split_seed=3)))
    assert {s: sorted(own) for s, own in again.items()} == {
        s: sorted(own) for s, own in numbers(splits).items()
    }


def test_strata_of_several_labels_are_the_rarest() -> None:
    labels = np.array([[1, 0, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1], [1, 0, 1]])
    assert strata(labels).tolist() == [2, 0, -1, 1, 2]


def test_a_pool_without_splits_is_divided_at_random_and_says_so() -> None:
    splits = split_up(pool_of(LABELS), How())
    assert numbers(splits) == numbers(split_up(pool_of(LABELS), How("random")))
    assert splits.notes[-1].text.startswith("the data have no splits: 70% train, 10% val")
    with pytest.raises(UserError, match="split=official needs splits in the data, and Pool has n"):
        split_up(pool_of(LABELS), How("official"))
    with pytest.raises(UserError, match="split=corrected needs to know which images belong"):
        split_up(pool_of(LABELS), How("corrected"))


def test_shares_and_seed_need_a_random_split() -> None:
    pool = pool_of(LABELS, own_split=np.repeat(["train", "val", "test"], [50, 25, 25]))
    for how, given in (
        (How(split_seed=1), "split_seed=1"),
        (How(shares=(0.5, 0.3, 0.2)), "shares"),
    ):
        with pytest.raises(UserError, match=f"dataset.{given}.*, but Pool has splits of its own"):
            split_up(pool, how)


def test_corrected_split_moves_each_leaking_lesion_to_train() -> None:
    own = np.array(["train", "train", "val", "val", "test", "test", "test"])
    lesions = np.array(["a", "b", "a", "c", "c", "d", "d"])
    pool = pool_of(
        np.array([0, 1, 0, 1, 1, 0, 1]),
        own_split=own,
        lesion_groups=lesions,
        grouping=Grouping("t.csv", "lesion", "g" * 64),
    )
    with pytest.raises(UserError, match="leaves val of Pool without an image"):
        split_up(pool, How("corrected"))
    more = replace(pool, lesion_groups=np.array(["a", "b", "e", "c", "c", "d", "d"]))
    splits = split_up(more, How("corrected"))
    assert numbers(splits) == {"train": [0, 1, 3, 4], "val": [2], "test": [5, 6]}
    assert splits.record["split"]["moved"] == 2
    assert splits.name == "Pool, corrected by lesion"
    assert numbers(split_up(more, How())) == {"train": [0, 1], "val": [2, 3], "test": [4, 5, 6]}


def test_joined_arrays_are_those_in_a_row() -> None:
    arrays = [np.arange(k * 4, dtype=np.uint8).reshape(k, 2, 2, 1) + k for k in (3, 1, 2)]
    indices = np.array([5, 0, 3, 3, 2])
    whole = np.concatenate(arrays)
    assert np.array_equal(Joined(arrays)[indices], whole[indices])
    assert Joined(arrays).shape == whole.shape


@pytest.mark.parametrize(
    ("column", "sizes"), [("lesion_id", [8208, 575, 1232]), ("lesion_id_merged", [8215, 573, 1227])]
)
def test_corrected_dermamnist_has_the_published_counts(
    column: str, sizes: list[int], real_data: Path, real_index: Path
) -> None:
    """Those of DermaMNIST-C (Abhishek, Jain, Hamarneh 2024)."""
    real = with_lesion_groups(npz.load(str(real_data)), str(real_index), column)
    splits = split_up(real, How("corrected"))
    assert [len(splits[split]) for split in SPLITS] == sizes
    assert not leaked(splits).any()
    nevi = np.mean(splits.test.labels == 5)
    assert nevi == pytest.approx(0.77, abs=0.005)
