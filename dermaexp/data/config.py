"""Rules for the keys that every dataset has and for those of each source."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal, Self, cast

from pydantic import AfterValidator, Field, create_model, model_validator

from dermaexp.core.errors import UserError, nearest
from dermaexp.core.rules import (
    Component,
    Count,
    Finite,
    Flag,
    Index,
    NonEmpty,
    NotNegative,
    Positive,
    Rules,
    Text,
)
from dermaexp.data.how import FOLDS, GROUP_COLUMN, SHARES, How


def _known_colour(colour: str) -> str:
    from PIL import ImageColor

    ImageColor.getrgb(colour)  # raises ValueError
    return colour


def _whole(shares: tuple[float, float, float]) -> tuple[float, float, float]:
    if not math.isclose(sum(shares), 1):
        raise ValueError(shares)
    return shares


def _readable(urls: Any) -> Any:
    from dermaexp.data.shard_urls import shard_urls

    shard_urls(urls)  # raises UserError
    return urls


Normalize = Annotated[
    Flag
    | tuple[Finite, Positive]
    | tuple[tuple[Finite, Finite, Finite], tuple[Positive, Positive, Positive]],
    Field(
        description="true, false or [mean, std] of pixels in [0, 1], each a number or three of "
        "red, green and blue"
    ),
]
GroupsFile = Annotated[NonEmpty, Field(description="the path of a CSV file, or null")]
Column = Annotated[NonEmpty, Field(description="the name of a column")]
Folds = Annotated[int, Field(strict=True, ge=2, description="a whole number from 2")]

SplitShares = Annotated[
    tuple[Positive, Positive, Positive],
    AfterValidator(_whole),
    Field(description="[TRAIN, VAL, TEST], three numbers above 0 that add up to 1"),
]
Pixels = Annotated[Count, Field(description="a whole number of pixels from 1")]
LesionPixels = Annotated[Index, Field(ge=8, description="a whole number of pixels from 8")]
TableFile = Annotated[Text, Field(description="the path of a .csv, .tsv or .parquet file")]
NpzFile = Annotated[Text, Field(description="the path of an npz file")]
Folder = Annotated[Text, Field(description="the path of a folder")]
Shards = Annotated[
    Text | Annotated[list[Text], Field(min_length=1)],
    AfterValidator(_readable),
    Field(description="URLs or paths such as https://HOST/{train,val,test}-{000..009}.tar"),
]
Classes = Annotated[Any, Field(description="[NAME, …], a MedMNIST flag or null")]
TableClasses = Annotated[
    list[Any] | dict[Any, Any] | None,
    Field(description="[NAME, …] in the order of the labels, {LABEL: NAME, …} or null"),
]
Background = Annotated[
    NonEmpty,
    AfterValidator(_known_colour),
    Field(description="a colour such as white or '#808080'"),
]
OnError = Literal["stop", "skip"]
MedMNISTSize = Literal[28, 64, 128, 224]


def _known(flag: str) -> str:
    from dermaexp.data.medmnist_info import INFO  # other sources do without medmnist

    if flag not in INFO:
        raise UserError(f"dataset.flag={flag} is unknown: {nearest(flag, INFO)}")
    return flag


MedMNISTFlag = Annotated[
    str,
    AfterValidator(_known),
    Field(description="dermamnist, bloodmnist or another 2D set of MedMNIST"),
]


class DatasetConfig(Rules):
    """The keys that every dataset has; a source that needs no file of lesion groups says so."""

    groups_key: ClassVar = "dataset.groups=FILE"  # what names the lesion groups
    grayscale: Flag
    normalize: Normalize
    channels: Literal[3] | None = None
    task: Literal["ordinal"] | None = None
    groups: GroupsFile | None = None
    group_column: Column | None = None
    split: Literal["official", "grouped", "random", "corrected"] | None = None
    folds: Folds | None = None
    fold: Index | None = None
    shares: SplitShares | None = None
    split_seed: Index | None = None
    max_resident_gb: NotNegative | None = None

    def _knows_groups(self) -> bool:
        return self.groups is not None

    @model_validator(mode="after")
    def _has_a_file_for_its_column(self) -> Self:
        if self.group_column not in (None, GROUP_COLUMN) and not self._knows_groups():
            raise UserError(
                f"dataset.group_column={self.group_column}, but there is no file with such a "
                "column: give dataset.groups=FILE too"
            )
        return self

    @model_validator(mode="after")
    def _has_lesion_groups(self) -> Self:
        if self.split in ("grouped", "corrected") and not self._knows_groups():
            raise UserError(
                f"dataset.split={self.split} needs to know which images belong together: give "
                f"{self.groups_key}"
            )
        return self

    @model_validator(mode="after")
    def _has_its_shares(self) -> Self:
        if self.split in ("random", None):
            return self
        how = How(shares=self.shares or SHARES, split_seed=self.split_seed or 0)
        if given := how.only_for_random():
            raise UserError(
                f"dataset.{given}, but the {self.split} split takes no such number: give "
                "dataset.split=random too"
            )
        return self

    @model_validator(mode="after")
    def _has_its_fold(self) -> Self:
        fold, folds = self.fold or 0, self.folds or FOLDS
        if self.split != "grouped":
            if fold or folds != FOLDS:
                given = f"fold={fold}" if fold else f"folds={folds}"
                raise UserError(
                    f"dataset.{given}, but the {self.split or 'official'} split has no folds: give "
                    "dataset.split=grouped too"
                )
        elif fold >= folds:
            raise UserError(
                f"dataset.fold={fold}: expected a whole number from 0 to {folds - 1}, for "
                f"dataset.folds={folds}"
            )
        return self


class SyntheticConfig(Component):
    size: LesionPixels = 28
    seed: Index = 0


class PicturesConfig(Component):
    """The keys of sources that decode pictures."""

    name: Text | None = None
    background: Background = "white"
    on_error: OnError = "stop"


class FolderConfig(PicturesConfig):
    path: Folder
    size: Pixels


class OwnGroupsConfig(PicturesConfig):
    """The keys of sources that find the lesion groups in their own table."""

    groups_key: ClassVar = "dataset.group_column=COLUMN"
    group_column: Column | None = None

    def _knows_groups(self) -> bool:
        return self.group_column is not None


class TableConfig(OwnGroupsConfig):
    table: TableFile
    images: Folder | list[Folder] | None = None
    image_column: Column = "image"
    label_column: Column | list[Column] = "label"
    split_column: Column | None = None
    classes: TableClasses = None
    size: Pixels | None = None


class ShardsConfig(OwnGroupsConfig):
    url: Shards
    size: Pixels
    label_column: Column = "label"
    classes: TableClasses = None


class HAM10000Config(OwnGroupsConfig):
    group_column: Column | None = GROUP_COLUMN
    path: Folder
    size: Pixels


class NpzConfig(Component):
    path: NpzFile
    classes: Classes = None
    name: Text | None = None


class MedMNISTConfig(Component):
    flag: MedMNISTFlag
    size: MedMNISTSize
    root: Folder
    if_unavailable: Literal["synthetic", "error"]

    @model_validator(mode="after")
    def _has_a_stand_in(self) -> Self:
        if self.flag != "dermamnist" and self.if_unavailable != "error":
            raise UserError(
                f"dataset.if_unavailable={self.if_unavailable}: expected error for {self.flag}"
            )
        return self


SOURCES: dict[str, type[Component]] = {
    "dermaexp.data.folder.load": FolderConfig,
    "dermaexp.data.ham10000.load": HAM10000Config,
    "dermaexp.data.medmnist.load": MedMNISTConfig,
    "dermaexp.data.npz.load": NpzConfig,
    "dermaexp.data.shards.load": ShardsConfig,
    "dermaexp.data.synthetic.load": SyntheticConfig,
    "dermaexp.data.table.load": TableConfig,
}
OWN_GROUPS = {name for name, source in SOURCES.items() if issubclass(source, OwnGroupsConfig)}
MAPPING = {  # sources that map their files themselves: they take max_resident_gb
    f"dermaexp.data.{name}.load" for name in ("medmnist", "npz", "synthetic")
}
COMPONENTS = {  # by _target_: a source with the keys that every dataset has
    target: cast(
        type[DatasetConfig], create_model(source.__name__, __base__=(source, DatasetConfig))
    )
    for target, source in SOURCES.items()
}
