"""The scores of runs on resamples of their test images, kept beside each run."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from dermaexp.metrics import resampling
from dermaexp.runs.collect import Run

TESTED = ("accuracy", "balanced_accuracy", "macro_auroc")
VERSION = 1  # of the numbers: raise it with every change of the resampling
AT_ONCE = 250  # runs that share the resamples while they are in memory


def resampled_scores(
    runs: Sequence[Run],
    targets: np.ndarray,
    resamples: int,
    seed: int,
    advance: Callable[[int], None],
) -> Iterator[np.ndarray]:
    """Yields the `TESTED` metrics of each run on resamples of its images, (metrics, resamples).

    All runs have test predictions, of these `targets`. Scores that an earlier comparison left
    beside a run are read, others are computed and left there. Calls `advance` with the number of
    runs that are ready.
    """
    for start in range(0, len(runs), AT_ONCE):
        chunk = runs[start : start + AT_ONCE]
        probabilities = [_probabilities(run) for run in chunk]
        keys = [_key(targets, own, resamples, seed) for own in probabilities]
        found = [_kept(run, key) for run, key in zip(chunk, keys, strict=True)]
        missing = [place for place, scores in enumerate(found) if scores is None]
        if missing:
            scores = resampling.bootstrap(
                targets, [probabilities[place] for place in missing], resamples, seed
            )
            for place, *own in zip(missing, *(scores[metric] for metric in TESTED), strict=True):
                found[place] = np.stack(own)
                with contextlib.suppress(OSError):  # another user's run, or a full disk
                    chunk[place].directory.write_resampled(keys[place], found[place])
        for one in found:
            assert one is not None
            yield one
        advance(len(chunk))


def _probabilities(run: Run) -> np.ndarray:
    stored = run.test_predictions()
    assert stored is not None
    return stored[1]


def _key(targets: np.ndarray, probabilities: np.ndarray, resamples: int, seed: int) -> str:
    """The digest of all that the scores depend on."""
    digest = hashlib.sha256(
        repr((VERSION, resamples, seed, probabilities.dtype.str, probabilities.shape)).encode()
    )
    digest.update(np.ascontiguousarray(targets, np.int64).data)
    digest.update(np.ascontiguousarray(probabilities).data)
    return digest.hexdigest()


def _kept(run: Run, key: str) -> np.ndarray | None:
    try:
        return run.directory.read_resampled(key)
    except (OSError, ValueError):  # none, or damaged
        return None
