"""What a data set holds and what leaks between its splits: `python -m dermaexp.audit dataset=…`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from hydra import compose, initialize_config_dir
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig
from threadpoolctl import threadpool_limits

from dermaexp import settings
from dermaexp.__main__ import INTERRUPTED
from dermaexp.console import console, print_error
from dermaexp.data.groups import in_groups_of
from dermaexp.data.sources import load_splits
from dermaexp.data.splits import SPLITS, Splits
from dermaexp.detection import Found, detection, flagged
from dermaexp.duplicates import Place, between_splits, conflicts, exact_duplicates
from dermaexp.errors import UserError, explain
from dermaexp.folders import new_folder
from dermaexp.near_duplicates import COPY, Embedding, near_duplicates
from dermaexp.shipped import config_folder

SCHEMA = 1
THRESHOLD = 0.08  # of the margin: the largest F1 on pairs of train and val of DermaMNIST (rebuilt)


@dataclass(frozen=True)
class Audit:
    """All that was found in `splits`; `facts` as they stand in audit.json."""

    splits: Splits
    duplicates: list[list[Place]]
    conflicts: list[list[Place]]
    found: Found
    facts: dict[str, Any]


def main() -> None:
    """Compose the dataset's config, audit it, write and print; an error ends as one line."""
    parser = _parser()
    try:
        arguments = parser.parse_intermixed_args()
        config = composed(arguments.overrides, arguments.config_dir)
        settings.check_dataset(config)
        result = audit(load_splits(config.dataset))
        folder = arguments.output or _new_folder()
        # Matplotlib is not loaded for a mistyped key.
        from dermaexp.audit_page import show, write

        write(result, folder)
        show(result)
        console.print(f"audit: {folder.absolute()}", soft_wrap=True, markup=False)
    except KeyboardInterrupt:
        print_error("interrupted")
        sys.exit(INTERRUPTED)
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print_error(explain(error))
        sys.exit(1)


def composed(overrides: Sequence[str], config_dir: Path | None = None) -> DictConfig:
    """The config with these overrides of the group dataset, as the main command composes it."""
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        if key.partition(".")[0] != "dataset":
            raise UserError(
                f"'{override}' is no setting of an audit: expected dataset=OPTION or "
                "dataset.KEY=VALUE"
            )
    if config_dir is not None and not config_dir.is_dir():
        raise UserError(f"--config-dir {config_dir} is not a folder: expected one with dataset/")
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        if config_dir is not None:
            _search_also(config_dir.absolute())
        return compose("config", list(overrides))


def _search_also(folder: Path) -> None:
    """What Hydra does for --config-dir: as text of hydra.searchpath, "$" or "'" would be read."""
    path = create_config_search_path(str(config_folder()))
    path.prepend("command-line", f"file://{folder}", SearchPathQuery(provider="schema"))
    GlobalHydra.instance().clear()
    Hydra.create_main_hydra2("audit", path)


def audit(splits: Splits) -> Audit:
    """Look for all that is wrong with `splits`."""
    duplicates = exact_duplicates(splits)
    conflicting = conflicts(splits, duplicates)
    betweens = list(combinations(SPLITS, 2))
    pairs = sum(len(splits[first]) * len(splits[second]) for first, second in betweens)
    console.print(f"comparing {pairs:,} pairs of images of {splits.title}", markup=False)
    with threadpool_limits(1):  # threads of BLAS would wait for each other, and spin meanwhile
        embedding = Embedding(splits.train.images)
        found = {
            (first, second): near_duplicates(embedding, splits[first].images, splits[second].images)
            for first, second in betweens
        }
    facts = {
        "schema": SCHEMA,
        "data": splits.record,
        "image_shape": list(splits.train.images.shape[1:]),
        "images_of_one_color": {split: _of_one_color(splits[split].images) for split in SPLITS},
        "classes": _classes(splits),
        "exact_duplicates": between_splits(duplicates),
        "duplicates": duplicates,
        "conflicts": conflicting,
        "near_duplicates": _near_duplicates(splits, found),
    }
    if splits.grouping:
        facts["leak"] = _leak(splits)
        facts["detection"] = detection(splits, found)
    return Audit(splits, duplicates, conflicting, found, facts)


def _of_one_color(images: np.ndarray) -> int:
    """Images that show nothing."""
    return int((images.min(axis=(1, 2)) == images.max(axis=(1, 2))).all(axis=1).sum())


def _classes(splits: Splits) -> dict[str, dict[str, dict[str, float]]]:
    """Class -> split -> its images, and their share of the split."""
    counts = {
        split: np.bincount(splits[split].labels, minlength=len(splits.classes)) for split in SPLITS
    }
    return {
        name: {
            split: {"images": int(own[label]), "share": float(own[label] / own.sum())}
            for split, own in counts.items()
        }
        for label, name in enumerate(splits.classes)
    }


def _near_duplicates(splits: Splits, found: Found) -> dict[str, Any]:
    """How many pairs there are between splits, and in how many of them the test images are."""
    pairs = {between: pairs.found(THRESHOLD) for between, pairs in found.items()}
    is_flagged = flagged(splits, found, THRESHOLD)
    counts = np.bincount(splits.test.labels[is_flagged], minlength=len(splits.classes))
    return {
        "threshold": THRESHOLD,
        "copy_similarity": COPY,
        "pairs": {", ".join(between): len(own) for between, own in pairs.items()},
        "images": {
            ", ".join(between): len(np.unique(own.second)) for between, own in pairs.items()
        },
        "test_images": int(is_flagged.sum()),
        "test_images_of_class": dict(zip(splits.classes, counts.tolist(), strict=True)),
    }


def _leak(splits: Splits) -> dict[str, Any]:
    """Test images that share a group with train, and with train or val, in all and of a class."""
    with_train = in_groups_of(splits, "test", ["train"])
    with_either = in_groups_of(splits, "test", ["train", "val"])

    def counts(chosen: np.ndarray) -> dict[str, int]:
        return {
            "images": int(chosen.sum()),
            "with_train": int((chosen & with_train).sum()),
            "with_train_or_val": int((chosen & with_either).sum()),
        }

    labels = splits.test.labels
    groups = {split: len(np.unique(splits[split].groups)) for split in SPLITS}
    return {
        "groups": groups,
        "test": counts(np.ones(len(labels), bool)),
        "classes": {name: counts(labels == label) for label, name in enumerate(splits.classes)},
        "val_with_train": int(in_groups_of(splits, "val", ["train"]).sum()),
    }


def _new_folder() -> Path:
    now = datetime.now()
    return Path(new_folder(f"audits/{now:%Y-%m-%d}/{now:%H-%M-%S}"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dermaexp.audit",
        description="Look for duplicates and leaks between train, val and test.",
        epilog="The settings are those of python -m dermaexp, such as dataset=npz "
        "dataset.path=FILE dataset.groups=FILE.csv; all are in python -m dermaexp --help.",
    )
    parser.add_argument("overrides", nargs="*", metavar="dataset…=VALUE")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="for the files; else a new one in audits/"
    )
    parser.add_argument("--config-dir", type=Path, metavar="DIR", help="with datasets of your own")
    parser.error = _raise_user_error  # type: ignore[method-assign]
    return parser


def _raise_user_error(message: str) -> NoReturn:
    raise UserError(f"{message}: see python -m dermaexp.audit --help")


if __name__ == "__main__":
    main()
