"""A search for hyper-parameters by Optuna: its space, its trials and its study.db.

The sampler is made anew for every trial, from the search's seed and the trial's number, and knows
all trials before: a search that was killed goes on as if it had not been.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import URL
from sqlalchemy.exc import DatabaseError

from dermaexp import settings
from dermaexp.console import console
from dermaexp.errors import UserError
from dermaexp.results import config_digest, write_bytes

if TYPE_CHECKING:
    from hydra_plugins.dermaexp_search import OptunaSweeper

Space = Mapping[str, BaseDistribution]

STUDY = "study.db"
STUDY_NAME = "search"  # of the only study in it
SETTINGS = "settings"  # attribute of the study: digest of what all trials share
RETRY_OF = "retry_of"  # attribute of a trial: number of the failed one that it repeats
DIGITS = 6  # of a number from an interval: it stands in folder names and tables


def search(sweeper: OptunaSweeper, arguments: Sequence[str]) -> None:
    """Run what is missing of the search's trials; maximises the val macro AUROC.

    First come the trials that were running when an earlier start of the search ended, then another
    attempt at each that failed, then new ones up to n_trials. Raises UserError for what cannot be
    searched, before anything is written or run.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for name, low in (("n_trials", 1), ("n_jobs", 1), ("seed", 0)):
        value = getattr(sweeper, name)
        if type(value) is not int or value < low:
            raise UserError(f"hydra.sweeper.{name}={value}: expected a whole number from {low}")
    shared, space = _split(sweeper, arguments)
    configs = [_composed(sweeper, [*shared, *_overrides(one)]) for one in _alternatives(space)]
    for config in configs:
        settings.check(config)
    folder = Path(sweeper.config.hydra.sweep.dir)
    study = _opened(folder, space, config_digest(settings.effective(configs[0])))
    write_bytes(folder / "multirun.yaml", OmegaConf.to_yaml(sweeper.config).encode())

    due = _due(study, space, sweeper.n_trials, sweeper.seed)
    while batch := list(itertools.islice(due, sweeper.n_jobs)):
        jobs = [[*shared, *_overrides(trial.params)] for trial in batch]
        results = sweeper.launcher.launch(jobs, initial_job_idx=batch[0].number)
        for trial, result in zip(batch, results, strict=True):
            score = result.return_value
            if math.isnan(score):
                study.tell(trial.number, state=TrialState.FAIL)
            else:
                study.tell(trial.number, score)
    _print_best(study)


def _split(sweeper: OptunaSweeper, arguments: Sequence[str]) -> tuple[list[str], Space]:
    """The overrides that all trials share, and the space: the config's, then the command line's.

    Of a key that is given again, the last counts, as in Hydra's own sweeps.
    """
    parser = OverridesParser.create(config_loader=sweeper.hydra_context.config_loader)
    parsed = parser.parse_overrides(list(arguments))
    given = {override.get_key_element(): override for override in parsed}.values()
    keys = {override.key_or_group for override in given}
    varied = []
    for key, text in sweeper.space.items():
        line = f"{key}={text}"
        try:
            override = parser.parse_override(line)
        except HydraException as error:
            # Without Hydra's "… while evaluating '…': ".
            raise _refused(line, str(error).splitlines()[0].rpartition("': ")[2]) from None
        if not override.is_sweep_override():
            raise _refused(line, "it is one value")
        if override.key_or_group not in keys:
            varied.append(override)
    varied += [override for override in given if override.is_sweep_override()]
    if not varied:
        raise UserError(
            "the search's space is empty: give KEY=interval(LOW,HIGH) or KEY=choice(A,B)"
        )
    shared = [override.input_line for override in given if not override.is_sweep_override()]
    return shared, {override.get_key_element(): distribution(override) for override in varied}


def distribution(override: Override) -> BaseDistribution:
    """Optuna's distribution for one of Hydra's sweeps; a choice is kept as it is written."""
    if override.key_or_group == "name":
        raise _refused(override.input_line, "the name is that of the whole search")
    if override.is_choice_sweep():
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    sweep = override.value()
    if unknown := sweep.tags - {"log"}:
        raise _refused(override.input_line, f"the tag {min(unknown)} is unknown, expected log")
    low, high, step = sweep.start, getattr(sweep, "end", None), None
    if isinstance(sweep, RangeSweep):
        values = sorted(sweep.range())
        if not values:
            raise _refused(override.input_line, "the range is empty")
        low, high, step = _rounded(values[0], 12), _rounded(values[-1], 12), abs(sweep.step)
    whole = isinstance(low, int) and isinstance(high, int)
    try:
        if whole:
            return IntDistribution(low, high, log="log" in sweep.tags, step=step or 1)
        return FloatDistribution(low, high, log="log" in sweep.tags, step=step)
    except ValueError as error:
        raise _refused(override.input_line, str(error)) from None


def _refused(line: str, reason: str) -> UserError:
    return UserError(
        f"{line} cannot be searched ({reason.rstrip('.')}): expected choice(A,B), range(A,B), "
        "interval(A,B), int(interval(A,B)) or tag(log, …) of one of them"
    )


def _alternatives(space: Space) -> Iterator[dict[str, Any]]:
    """Values that, together, use every choice and the low end of every range and interval."""
    choices = {
        key: d.choices if isinstance(d, CategoricalDistribution) else (d.low,)
        for key, d in space.items()
    }
    first = {key: values[0] for key, values in choices.items()}
    yield first
    for key, values in choices.items():
        for value in values[1:]:
            yield first | {key: value}


def _composed(sweeper: OptunaSweeper, overrides: Sequence[str]) -> DictConfig:
    """The config of a trial with these overrides, as a job gets it; raises Hydra's errors."""
    loader = sweeper.hydra_context.config_loader
    config = loader.load_sweep_config(sweeper.config, list(overrides))
    with read_write(config.hydra), open_dict(config.hydra):  # known to a job only
        config.hydra.job.id = config.hydra.job.num = 0
        config.hydra.runtime.output_dir = "."
    HydraConfig.instance().set_config(config)
    return OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])


def _overrides(values: Mapping[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in values.items()]


def _opened(folder: Path, space: Space, digest: str) -> optuna.Study:
    """The study in `folder`, a new one where there is none; UserError for one of another search."""
    file = folder / STUDY
    url = URL.create("sqlite", database=str(file)).render_as_string()
    try:
        study = optuna.create_study(
            storage=url, study_name=STUDY_NAME, direction="maximize", load_if_exists=True
        )
    except DatabaseError as error:
        raise UserError(
            f"{file} cannot be opened ({error.orig}): without it the same command starts the "
            "search anew and takes the scores of the runs that are there"
        ) from error
    trials = study.get_trials(deepcopy=False)
    if not trials:
        study.set_user_attr(SETTINGS, digest)
        return study
    before = trials[0].distributions
    if before != space:
        keys = sorted(key for key in {*before, *space} if before.get(key) != space.get(key))
        raise UserError(
            f"{folder} holds a search of another space, in {', '.join(keys)}: choose another name"
        )
    if study.user_attrs[SETTINGS] != digest:
        raise UserError(
            f"{folder} holds a search with other settings than those composed now: choose another "
            "name"
        )
    return study


def _due(study: optuna.Study, space: Space, n_trials: int, seed: int) -> Iterator[FrozenTrial]:
    """The trials to run, each stored as running before it is given."""
    before = study.get_trials(deepcopy=False)
    retried = {trial.user_attrs.get(RETRY_OF) for trial in before}
    yield from (trial for trial in before if trial.state == TrialState.RUNNING)
    for trial in before:
        if trial.state == TrialState.FAIL and trial.number not in retried:
            yield _begun(study, space, trial.params, {RETRY_OF: trial.number})
    asked = sum(RETRY_OF not in trial.user_attrs for trial in before)
    for number in range(asked, n_trials):
        yield _begun(study, space, _proposed(study, space, f"{seed},{number}"), {})


def _begun(
    study: optuna.Study, space: Space, params: Mapping[str, Any], attributes: Mapping[str, Any]
) -> FrozenTrial:
    """Store a running trial in one transaction, so that a kill leaves the whole of it or nothing.

    `Study.ask` would store it first and then its parameters, one by one.
    """
    study.add_trial(
        optuna.trial.create_trial(
            state=TrialState.RUNNING, params=params, distributions=space, user_attrs=attributes
        )
    )
    return study.get_trials(deepcopy=False)[-1]


def _proposed(study: optuna.Study, space: Space, seed: str) -> dict[str, Any]:
    """What Optuna's default sampler, TPE, would try next; nothing is stored."""
    sampler = optuna.samplers.TPESampler(seed=random.Random(seed).getrandbits(32))
    scratch = optuna.create_study(direction="maximize", sampler=sampler)
    scratch.add_trials(study.get_trials(deepcopy=False))
    params = scratch.ask(space).params
    for key, distribution in space.items():
        if isinstance(distribution, FloatDistribution):
            digits = 12 if distribution.step else DIGITS
            short = _rounded(params[key], digits)
            params[key] = min(max(short, distribution.low), distribution.high)
    return params


def _rounded(value: float, digits: int) -> float:
    """To so many significant digits; a whole number stays as it is."""
    return value if isinstance(value, int) else float(f"{value:.{digits}g}")


def _print_best(study: optuna.Study) -> None:
    trials = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    if trials:
        best = study.best_trial
        console.print(
            f"\nbest of {len(trials)} trials: val macro AUROC {best.value:.4f} of trial "
            f"{best.number} with {' '.join(_overrides(best.params))}",
            soft_wrap=True,
            markup=False,
        )
