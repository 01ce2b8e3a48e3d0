"""The best trial of a search as an experiment file in the search's folder, and its command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from optuna import Study
from optuna.trial import TrialState

from dermaexp.compare.search import ran_in
from dermaexp.core.containers import to_dict
from dermaexp.core.errors import UserError
from dermaexp.core.files import write_bytes
from dermaexp.core.overrides import command, quoted
from dermaexp.launch.search.composer import Composer, Options
from dermaexp.launch.search.plan import Plan
from dermaexp.launch.search.study import runs_of
from dermaexp.launch.validate import GROUPS

MARK = "# @package _global_\n# The best trial of a search"  # begins every file of ours


class BestTrial:
    """The experiment file of a search, SWEEP/experiment/best.yaml.

    Raises UserError if a file of that name exists that no search has written.
    """

    def __init__(self, composer: Composer, plan: Plan) -> None:
        self._composer = composer
        self._plan = plan
        self._folder = Path(composer.search.hydra.sweep.dir)
        known = composer.experiments()
        self.name, number = "best", 2
        while self.name in known:  # Hydra would find that one first
            self.name, number = f"best_{number}", number + 1
        self.file = self._folder / "experiment" / f"{self.name}.yaml"
        if self.file.exists() and not self.file.read_bytes().startswith(MARK.encode()):
            raise UserError(
                f"{self.file} was not written by a search, which would overwrite it: move it to "
                "another folder"
            )

    @property
    def command(self) -> str:
        """Runs the trial again, its seeds and folds as a sweep, ready to be pasted into a shell."""
        hydra = self._composer.search.hydra
        sources = hydra.runtime.config_sources
        own = [source.path for source in sources if source.provider == "command-line"]
        others = list(hydra.searchpath)
        if own:  # there is one such flag only
            others.append(str(self._folder))
        words = ["--config-dir", own[0] if own else str(self._folder)]
        if others:
            words.append(f"hydra.searchpath=[{','.join(map(quoted, others))}]")
        words.append(f"experiment={self.name}")
        if len(self._plan.repeats) > 1:
            words = ["-m", *words, *self._plan.places.split()]
        return command(*words)

    def update(self, study: Study) -> None:
        """Write the file, whole or not at all, if another trial is the best now."""
        if not study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]):
            return
        best = study.best_trial
        elsewhere = "" if ran_in(self._folder, runs_of(best)) else "run elsewhere, "
        header = (
            f"{MARK}: trial {best.number}, {elsewhere}val macro AUROC {best.value:.4f} with "
            f"{self._plan.places}: {self.command}\n"
        ).encode()
        if self.file.exists() and self.file.read_bytes().startswith(header):
            return
        options, values = self._experiment(self._plan.jobs(best.params)[0])
        defaults = [{f"override /{group}": option} for group, option in options.items()]
        content = OmegaConf.create({"defaults": defaults, **values} if defaults else values)
        note = "# The search replaces this file when a better trial comes: change a copy of it.\n"
        write_bytes(self.file, header + f"{note}{OmegaConf.to_yaml(content)}".encode())

    def _experiment(self, overrides: Sequence[str]) -> tuple[Options, dict[str, Any]]:
        """The options and the values in which a job differs from the config's defaults.

        Found by composing, not from the overrides' text, so that what an experiment sets, +KEY,
        ~KEY and quoted values all come out as the job gets them.
        """
        config = self._composer.trial(overrides)
        name = str(config.name)  # the model's, unless given
        wanted = to_dict(config)
        chosen = self._composer.options(overrides)
        options = {group: chosen[group] for group in GROUPS if chosen[group] != self._usual[group]}
        base = self._composer.base(options)
        # A file cannot remove what an option holds, such as ~optimizer.weight_decay: then no option
        # is chosen, and the values are all of the group.
        removed = [group for group in GROUPS if _lacks(wanted.get(group), base.get(group))]
        if removed:
            options |= dict.fromkeys(removed)
            base = self._composer.base(options)
        return options, _difference(base, wanted | {"name": name})

    @cached_property
    def _usual(self) -> Options:
        """The option of each config group where none is given."""
        return self._composer.options([])


def _difference(base: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What of `wanted` is not in `base`, or is of another value or type there."""
    values = {}
    for key, value in wanted.items():
        before = base.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            if inner := _difference(before, value):
                values[key] = inner
        elif key not in base or repr(value) != repr(before):
            values[key] = value
    return values


def _lacks(wanted: Any, base: Any) -> bool:
    """Whether a key of `base` is not in `wanted`, at any depth."""
    if not (isinstance(wanted, dict) and isinstance(base, dict)):
        return False
    return any(key not in wanted or _lacks(wanted[key], base[key]) for key in base)
