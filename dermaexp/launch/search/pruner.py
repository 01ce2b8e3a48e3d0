"""hydra.sweeper.pruner: which of Optuna's pruners ends trials early, if any."""

from __future__ import annotations

from collections.abc import Iterable

from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner

from dermaexp.core.errors import UserError

NONE, MEDIAN, HYPERBAND = "none", "median", "hyperband"
WORDS = (NONE, MEDIAN, HYPERBAND)
EPOCHS = ("epochs", "trainer.max_epochs")
FIRST = 5  # finished trials, before which a median says little
WARM_UP = 5  # the first fifth of the epochs, one at least, says little of the last one
SMALLEST = 9  # the smallest budget is a ninth of the epochs, which makes three brackets


def check(word: object, keys: Iterable[str]) -> None:
    """Raise UserError for an unknown word, or where it cannot prune a search of these keys."""
    if word not in WORDS:
        raise UserError(
            f"hydra.sweeper.pruner={word}: expected {', '.join(WORDS[:-1])} or {WORDS[-1]}"
        )
    varied = [key for key in keys if key in EPOCHS]
    if word == HYPERBAND and varied:
        raise UserError(
            f"hydra.sweeper.pruner={word} gives all trials the same budgets, but the search varies "
            f"{varied[0]}: expected {MEDIAN} or {NONE}"
        )


def pruner_of(word: str, epochs: int) -> BasePruner:
    """Return the pruner of trials of so many epochs, whose steps are epochs from 1.

    The median pruner waits for five finished trials, and for the first fifth of a trial's epochs.
    """
    if word == MEDIAN:
        return MedianPruner(n_startup_trials=FIRST, n_warmup_steps=max(1, epochs // WARM_UP) + 1)
    if word == HYPERBAND:
        return HyperbandPruner(min_resource=max(1, epochs // SMALLEST), max_resource=epochs)
    return NopPruner()
