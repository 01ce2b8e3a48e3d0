"""Rules for the options of the figures."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel

from dermaexp.core.rules import UNLESS_OWN, Count, Flag


class NoOptions(BaseModel):
    pass


class MontageConfig(BaseModel):
    columns: Count


class ReliabilityConfig(BaseModel):
    calibrate: Flag


class MisclassifiedConfig(BaseModel):
    count: Count


class FigureCallbacks(BaseModel):
    montage: Annotated[MontageConfig | None, UNLESS_OWN] = None
    reliability: Annotated[ReliabilityConfig | None, UNLESS_OWN] = None
    misclassified: Annotated[MisclassifiedConfig | None, UNLESS_OWN] = None
