"""Rules for the keys that every dataset has; its source checks its own."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

from dermaexp.core.errors import UserError
from dermaexp.core.rules import Finite, Flag, Index, NonEmpty, Positive
from dermaexp.data.folds import FOLDS
from dermaexp.data.lesion_groups import GROUP_COLUMN

Normalize = Annotated[
    Flag | tuple[Finite, Positive],
    Field(description="true, false or [mean, std] of pixels in [0, 1]"),
]
GroupsFile = Annotated[NonEmpty, Field(description="the path of a CSV file, or null")]
Column = Annotated[NonEmpty, Field(description="the name of a column")]
Folds = Annotated[int, Field(strict=True, ge=2, description="a whole number from 2")]


class DatasetConfig(BaseModel):
    grayscale: Flag
    normalize: Normalize
    groups: GroupsFile | None = None
    group_column: Column | None = None
    split: Literal["official", "grouped"] | None = None
    folds: Folds | None = None
    fold: Index | None = None
    path: Any = None

    @model_validator(mode="after")
    def _has_a_path(self) -> Self:
        if "path" in self.model_fields_set and self.path is None:
            raise UserError(
                "dataset.path is missing: give it on the command line, dataset.path=FILE or DIR"
            )
        return self

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
