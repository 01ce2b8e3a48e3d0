"""search.json: what a search found, for its page, without Optuna and its database."""

from __future__ import annotations

from pathlib import Path

from optuna import Study
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from dermaexp.compare.search import FEWEST, FILE, Search, Trial
from dermaexp.core.files import write_json
from dermaexp.launch.search.plan import Plan
from dermaexp.launch.search.study import runs_of
from dermaexp.runs.schemas import SCHEMA


def write_search(folder: Path, study: Study, plan: Plan) -> None:
    """Write search.json of the study as it is now."""
    content: Search = {
        "schema": SCHEMA,
        "data": plan.data,
        "places": plan.places,
        "trials": [_trial(trial) for trial in study.get_trials(deepcopy=False)],
        "importances": importances(study),
    }
    write_json(folder / FILE, content)


def _trial(trial: FrozenTrial) -> Trial:
    found: Trial = {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "value": trial.value,
        "params": trial.params,
        "runs": runs_of(trial),
    }
    if trial.state == TrialState.PRUNED:
        found["pruned_after"] = trial.last_step
    return found


def importances(study: Study) -> dict[str, float]:
    """The importance of each key for the score by fANOVA, the largest first; their sum is 1.

    Empty where it means nothing: for one key, few trials, or equal scores.
    """
    done = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    if len(done) < FEWEST or len(done[0].params) < 2:
        return {}
    try:
        found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    except RuntimeError:  # the scores do not vary
        return {}
    return {key: float(share) for key, share in found.items()}
