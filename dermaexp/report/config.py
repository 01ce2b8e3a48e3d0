"""Rules for the options of the figures."""

from __future__ import annotations

from typing import Annotated

from dermaexp.core.rules import UNLESS_OWN, Count, Flag, Rules


class NoOptions(Rules):
    pass


class MontageConfig(Rules):
    columns: Count


class ReliabilityConfig(Rules):
    calibrate: Flag


class MisclassifiedConfig(Rules):
    count: Count


class FigureCallbacks(Rules):
    montage: Annotated[MontageConfig | None, UNLESS_OWN] = None
    reliability: Annotated[ReliabilityConfig | None, UNLESS_OWN] = None
    misclassified: Annotated[MisclassifiedConfig | None, UNLESS_OWN] = None
