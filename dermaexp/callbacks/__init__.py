"""Lightning callbacks: when something is drawn or written; one YAML each in `conf/callbacks/`."""

from dermaexp.callbacks.checkpoints import (
    AtomicCheckpointIO,
    BestCheckpoint,
    LastCheckpoint,
    load_checkpoint,
)
from dermaexp.callbacks.figures import (
    ConfusionMatrix,
    LearningCurves,
    Misclassified,
    Montage,
    PerClassAccuracy,
)
from dermaexp.callbacks.history import History
from dermaexp.callbacks.predictions import Predictions
from dermaexp.callbacks.progress import Progress
from dermaexp.callbacks.seeding import SeedEveryEpoch

__all__ = [
    "AtomicCheckpointIO",
    "BestCheckpoint",
    "ConfusionMatrix",
    "History",
    "LastCheckpoint",
    "LearningCurves",
    "Misclassified",
    "Montage",
    "PerClassAccuracy",
    "Predictions",
    "Progress",
    "SeedEveryEpoch",
    "load_checkpoint",
]
