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
    PrecisionRecallCurves,
    Reliability,
    ROCCurves,
)
from dermaexp.callbacks.history import History
from dermaexp.callbacks.medmnist_result import MedMNISTResult
from dermaexp.callbacks.predictions import Predictions
from dermaexp.callbacks.progress import Progress
from dermaexp.callbacks.seeding import SeedEveryEpoch
from dermaexp.callbacks.stopping import StayStopped, StopAtLimit

__all__ = [
    "AtomicCheckpointIO",
    "BestCheckpoint",
    "ConfusionMatrix",
    "History",
    "LastCheckpoint",
    "LearningCurves",
    "MedMNISTResult",
    "Misclassified",
    "Montage",
    "PerClassAccuracy",
    "PrecisionRecallCurves",
    "Predictions",
    "Progress",
    "ROCCurves",
    "Reliability",
    "SeedEveryEpoch",
    "StayStopped",
    "StopAtLimit",
    "load_checkpoint",
]
