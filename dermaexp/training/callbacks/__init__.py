"""Lightning callbacks of a training: checkpoints, history, progress, its end."""

from dermaexp.training.callbacks.checkpoints import (
    AtomicCheckpointIO,
    BestCheckpoint,
    LastCheckpoint,
    load_checkpoint,
)
from dermaexp.training.callbacks.history import History
from dermaexp.training.callbacks.predictions import Predictions
from dermaexp.training.callbacks.progress import Progress
from dermaexp.training.callbacks.pruning import PruneTrial
from dermaexp.training.callbacks.seeding import SeedEveryEpoch
from dermaexp.training.callbacks.stopping import StayStopped, StopAtLimit, WholeEpochs
from dermaexp.training.callbacks.tracking import TrackEpochs

__all__ = [
    "AtomicCheckpointIO",
    "BestCheckpoint",
    "History",
    "LastCheckpoint",
    "Predictions",
    "Progress",
    "PruneTrial",
    "SeedEveryEpoch",
    "StayStopped",
    "StopAtLimit",
    "TrackEpochs",
    "WholeEpochs",
    "load_checkpoint",
]
