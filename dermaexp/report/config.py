"""Rules for the keys of the figures."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel

from dermaexp.core.rules import UNLESS_OWN, Count


class MontageConfig(BaseModel):
    columns: Count


class MisclassifiedConfig(BaseModel):
    count: Count


class FigureCallbacks(BaseModel):
    montage: Annotated[MontageConfig | None, UNLESS_OWN] = None
    misclassified: Annotated[MisclassifiedConfig | None, UNLESS_OWN] = None
