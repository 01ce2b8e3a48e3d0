"""The values of the config group dataset: taken, or refused in one line."""

from __future__ import annotations

import math

import pytest

from dermaexp.core import rules
from dermaexp.core.errors import UserError
from dermaexp.data.config import COMPONENTS, DatasetConfig

PLAIN = {"grayscale": True, "normalize": False}
GROUPED = {"split": "grouped", "groups": "lesions.csv"}
PAIR = "expected true, false or [mean, std] of pixels in [0, 1]"


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"grayscale": None}, "dataset.grayscale=null: expected true or false"),
        ({"grayscale": 1}, "dataset.grayscale=1: expected true or false"),
        ({"normalize": [0.5, math.inf]}, PAIR),
        ({"normalize": [math.nan, 1]}, PAIR),
        ({"normalize": [0.5, 0]}, f"dataset.normalize=[0.5, 0]: {PAIR}"),
        ({"normalize": [0.5]}, PAIR),
        ({"normalize": [True, 1]}, PAIR),
        ({"normalize": ["0.5", "0.5"]}, PAIR),
        ({"normalize": 0.5}, PAIR),
        ({"normalize": [[0.5, 0.5], [0.5, 0.5]]}, PAIR),
        ({"normalize": [[0.5, 0.5, 0.5], [0.5, 0.5, 0]]}, PAIR),
        ({"groups": ""}, "dataset.groups=: expected the path of a CSV file, or null"),
        ({"groups": 5}, "dataset.groups=5: expected the path of a CSV file, or null"),
        ({"group_column": 5}, "dataset.group_column=5: expected the name of a column"),
        ({"group_column": "patient"}, "there is no file with such a column: give dataset.groups="),
        ({"split": "rnd"}, "dataset.split=rnd: expected official, grouped, random or corrected"),
        ({"split": "corrected"}, "split=corrected needs to know which images belong together"),
        ({"shares": [0.5, 0.2, 0.2], "split": "random"}, "three numbers above 0 that add up to 1"),
        ({"shares": [0.8, 0.0, 0.2], "split": "random"}, "three numbers above 0 that add up to 1"),
        ({"shares": [0.6, 0.2, 0.2], "split": "official"}, "but the official split takes no such"),
        ({**GROUPED, "split_seed": 3}, "dataset.split_seed=3, but the grouped split takes no such"),
        ({"split": "grouped"}, "dataset.split=grouped needs to know which images belong together"),
        ({"fold": 1}, "dataset.fold=1, but the official split has no folds"),
        ({"folds": 4}, "dataset.folds=4, but the official split has no folds"),
        ({**GROUPED, "folds": 1}, "dataset.folds=1: expected a whole number from 2"),
        ({**GROUPED, "fold": -1}, "dataset.fold=-1: expected a whole number from 0"),
        ({**GROUPED, "fold": 5}, "dataset.fold=5: expected a whole number from 0 to 4, for"),
        ({**GROUPED, "fold": 2, "folds": 2}, "from 0 to 1, for dataset.folds=2"),
    ],
)
def test_values_that_make_no_sense(given: dict, line: str) -> None:
    with pytest.raises(UserError) as error:
        rules.check(DatasetConfig, PLAIN | given, "dataset")
    assert line in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("source", "given", "line"),
    [
        ("synthetic", {"size": 7}, "dataset.size=7: expected a whole number of pixels from 8"),
        ("synthetic", {"sise": 28}, "dataset.sise is used by nothing: did you mean 'dataset.size'"),
        ("synthetic", {"grayscale": 1}, "dataset.grayscale=1: expected true or false"),
        ("synthetic", GROUPED | {"groups": None}, "needs to know which images belong together"),
        ("npz", {"path": None}, "dataset.path=null: expected the path of an npz file"),
        ("folder", {"path": "images"}, "dataset.size is missing: expected a whole number of pix"),
    ],
)
def test_sources_check_their_keys_and_those_of_every_dataset(
    source: str, given: dict, line: str
) -> None:
    target = f"dermaexp.data.{source}.load"
    with pytest.raises(UserError) as error:
        rules.check(COMPONENTS[target], PLAIN | {"_target_": target} | given, "dataset")
    assert line in str(error.value)


@pytest.mark.parametrize(
    "given",
    [
        {"normalize": True},
        {"normalize": [0.5, 0.5]},
        {"normalize": [0, 1]},
        {"normalize": [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]},
        {"path": "images", "size": "of the source's own"},
        {"groups": None, "group_column": None, "split": None, "folds": None, "fold": None},
        {"groups": "lesions.csv", "group_column": "patient"},
        {**GROUPED, "folds": 10, "fold": 9},
        {**GROUPED, "folds": None, "fold": 4},
    ],
)
def test_values_that_are_taken(given: dict) -> None:
    rules.check(DatasetConfig, PLAIN | given, "dataset")
