"""Rules for the keys that every dataset has and for those of each source."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, cast

from pydantic import AfterValidator, BaseModel, Field, create_model, model_validator

from dermaexp.core.errors import UserError, nearest
from dermaexp.core.rules import Component, Count, Finite, Flag, Index, NonEmpty, Positive, Text
from dermaexp.data.folds import FOLDS
from dermaexp.data.lesion_groups import GROUP_COLUMN

Normalize = Annotated[
    Flag | tuple[Finite, Positive],
    Field(description="true, false or [mean, std] of pixels in [0, 1]"),
]
GroupsFile = Annotated[NonEmpty, Field(description="the path of a CSV file, or null")]
Column = Annotated[NonEmpty, Field(description="the name of a column")]
Folds = Annotated[int, Field(strict=True, ge=2, description="a whole number from 2")]

Pixels = Annotated[Count, Field(description="a whole number of pixels from 1")]
LesionPixels = Annotated[Index, Field(ge=8, description="a whole number of pixels from 8")]
NpzFile = Annotated[Text, Field(description="the path of an npz file")]
Folder = Annotated[Text, Field(description="the path of a folder")]
Classes = Annotated[Any, Field(description="[NAME, …], a MedMNIST flag or null")]
MedMNISTSize = Literal[28, 64, 128, 224]


def _supported(flag: str) -> str:
    from dermaexp.data.medmnist_info import INFO  # other sources do without medmnist

    if flag not in INFO:
        raise UserError(f"dataset.flag={flag} is unknown: {nearest(flag, INFO)}")
    if "multi-label" in INFO[flag]["task"]:
        raise UserError(
            f"dataset.flag={flag} has several labels per image, which is not supported: "
            f"expected one of {', '.join(f for f in INFO if f != flag)}"
        )
    return flag


MedMNISTFlag = Annotated[
    str,
    AfterValidator(_supported),
    Field(description="dermamnist, bloodmnist or another 2D set of MedMNIST"),
]


class DatasetConfig(BaseModel):
    grayscale: Flag
    normalize: Normalize
    groups: GroupsFile | None = None
    group_column: Column | None = None
    split: Literal["official", "grouped"] | None = None
    folds: Folds | None = None
    fold: Index | None = None

    @model_validator(mode="after")
    def _has_a_file_for_its_column(self) -> Self:
        if self.group_column not in (None, GROUP_COLUMN) and self.groups is None:
            raise UserError(
                f"dataset.group_column={self.group_column}, but there is no file with such a "
                "column: give dataset.groups=FILE too"
            )
        return self

    @model_validator(mode="after")
    def _has_its_fold(self) -> Self:
        fold, folds = self.fold or 0, self.folds or FOLDS
        if self.split != "grouped":
            if fold or folds != FOLDS:
                given = f"fold={fold}" if fold else f"folds={folds}"
                raise UserError(
                    f"dataset.{given}, but the official split has no folds: give "
                    "dataset.split=grouped too"
                )
        elif self.groups is None:
            raise UserError(
                "dataset.split=grouped needs to know which images belong together: give "
                "dataset.groups=FILE"
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


class FolderConfig(Component):
    path: Folder
    size: Pixels
    name: Text | None = None


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
    "dermaexp.data.medmnist.load": MedMNISTConfig,
    "dermaexp.data.npz.load": NpzConfig,
    "dermaexp.data.synthetic.load": SyntheticConfig,
}
COMPONENTS = {  # by _target_: a source with the keys that every dataset has
    target: cast(
        type[DatasetConfig], create_model(source.__name__, __base__=(source, DatasetConfig))
    )
    for target, source in SOURCES.items()
}
