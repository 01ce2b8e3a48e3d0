"""Jobs of a sweep that differ by the seed alone, trained at once before each of them ends.

`sweep.replicas=8` forms groups of up to eight. The jobs of a group are trained by one loop, as if
each had been interrupted after its last epoch. Then each job runs as always: it resumes its run,
whose training is over, and tests it.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn
from hydra.types import TaskFunction
from omegaconf import DictConfig, OmegaConf

from dermaexp.core import lean_imports
from dermaexp.core.console import console, print_warning, quiet
from dermaexp.core.containers import to_dict
from dermaexp.core.errors import UserError
from dermaexp.launch.explain import explain
from dermaexp.launch.identity import identity
from dermaexp.launch.job import task
from dermaexp.launch.observers import only_observes
from dermaexp.launch.record import recording
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.identity import config_digest
from dermaexp.runs.locks import locked

if TYPE_CHECKING:
    from dermaexp.launch.attempt import Job
    from dermaexp.training.replicas import Replica

SEED = "seed="
KEY = "replicas="
LAUNCHER = "hydra_plugins.dermaexp_replicas.ReplicasLauncher"


class LaunchOne(Protocol):
    """Runs the task for the job of these overrides and this number, perhaps not the last time."""

    def __call__(
        self, task: TaskFunction, overrides: Sequence[str], number: int, *, again: bool
    ) -> JobReturn: ...


def expanded(arguments: Sequence[str]) -> list[str]:
    """Replace `replicas=N` by a sweep over N seeds, from `seed` on, that trains them at once."""
    given = [text for text in arguments if text.startswith(KEY) and text != f"{KEY}null"]
    if not given:
        return list(arguments)
    count = given[-1].removeprefix(KEY)
    if not count.isdecimal() or int(count) < 1:
        raise UserError(f"{given[-1]}: expected a whole number from 1, of seeds")
    seeds = [text for text in arguments if text.startswith(SEED)]
    first = seeds[-1].removeprefix(SEED) if seeds else "0"
    if not first.isdecimal():
        raise UserError(
            f"{given[-1]} counts on from one seed, not from {seeds[-1]}: give "
            f"sweep.replicas={count}"
        )
    swept = ",".join(str(int(first) + number) for number in range(int(count)))
    others = [text for text in arguments if text not in (*given, *seeds)]
    flag = [] if {"-m", "--multirun"} & set(arguments) else ["-m"]
    return [*flag, *others, f"{SEED}{swept}", f"sweep.{KEY}{count}"]


def use(config: DictConfig) -> None:
    """Give the sweep the launcher that trains replicas at once, if its config asks for it."""
    from dermaexp.core import rules  # with pydantic
    from dermaexp.launch.validate import SweepConfig

    replicas = rules.check(SweepConfig, to_dict(config.sweep), "sweep").replicas
    if replicas == 1:
        return
    choice = config.hydra.runtime.choices["hydra/launcher"]
    if choice != "basic":
        raise UserError(
            f"sweep.replicas={replicas} trains the jobs in one process: expected no "
            f"hydra/launcher={choice}"
        )
    config.hydra.launcher._target_ = LAUNCHER


def launch(
    launch_one: LaunchOne, job_overrides: Sequence[Sequence[str]], first: int, size: int
) -> list[JobReturn]:
    """Run the jobs in their order; before the first one of a group, train the group."""
    groups = {group[0]: group for group in grouped(job_overrides, size) if len(group) > 1}
    trained: set[int] = set()
    results = []
    for number, overrides in enumerate(job_overrides):
        if number in groups:
            jobs = {first + other: job_overrides[other] for other in groups[number]}
            trained |= train_at_once(launch_one, jobs)
        own = functools.partial(task, trained=first + number in trained)
        results.append(launch_one(own, overrides, first + number, again=False))
    return results


def grouped(job_overrides: Sequence[Sequence[str]], size: int) -> list[list[int]]:
    """Return the numbers of the jobs whose overrides differ by the seed alone, up to `size`."""
    alike: dict[tuple[str, ...], list[int]] = {}
    for number, overrides in enumerate(job_overrides):
        others = tuple(text for text in overrides if not text.startswith(SEED))
        alike.setdefault(others, []).append(number)
    return [
        numbers[start : start + size]
        for numbers in alike.values()
        for start in range(0, len(numbers), size)
    ]


def train_at_once(launch_one: LaunchOne, jobs: Mapping[int, Sequence[str]]) -> set[int]:
    """Train those of the `jobs`, overrides by number, that are not finished; return which.

    Where they cannot be trained at once, a line says why, and each job is trained alone.
    """
    with contextlib.ExitStack() as until_trained:
        begin = functools.partial(_begin, until_trained=until_trained)
        begun = {
            number: launch_one(begin, overrides, number, again=True).return_value
            for number, overrides in jobs.items()
        }
        reasons = [value for value in begun.values() if isinstance(value, str)]
        runs = {n: run for n, run in begun.items() if run and not isinstance(run, str)}
        if not reasons and len({_but_seed(run) for run in runs.values()}) > 1:
            reasons = ["their configs differ in more than the seed"]
        named = f"jobs {', '.join(map(str, runs))}"
        if reasons:
            print_warning(f"jobs with other seeds are trained one by one: {reasons[0]}")
        elif len(runs) > 1:
            from dermaexp.training import replicas

            console.print(f"\n{named} are trained at once", soft_wrap=True)
            logging.captureWarnings(True)  # as a job does
            try:
                replicas.train(list(runs.values()))
            except Exception as error:
                print_warning(f"{named} are trained one by one from here: {explain(error)}")
    return set(runs)


def _begin(config: DictConfig, *, until_trained: contextlib.ExitStack) -> Replica | str | None:
    """Begin the run of a job, as Hydra calls it, and keep it locked and running `until_trained`.

    Returns why a job cannot be trained with others, and None for one that is finished. An error
    is none here: it comes again when the job runs.
    """
    from dermaexp.launch.attempt import Job

    hydra = HydraConfig.get()
    job = Job(config, hydra, RunDirectory(Path(hydra.runtime.output_dir)), True, False)
    # What the job prints comes when it runs.
    with contextlib.ExitStack() as own, quiet(True), contextlib.chdir(hydra.runtime.cwd):
        own.enter_context(locked(job.directory.path, wait=True))
        try:
            begun = _begun(job, own)
        except Exception:
            return None
        if begun and not isinstance(begun, str):
            until_trained.push(own.pop_all())
        return begun


def _begun(job: Job, own: contextlib.ExitStack) -> Replica | str | None:
    from dermaexp.data.load import load_splits
    from dermaexp.launch import attempt, validate

    lean_imports.import_all()
    from dermaexp.training.clock import Clock
    from dermaexp.training.replicas import Replica

    before, asks_longer = attempt.earlier_attempt(job)
    if asks_longer or (before and attempt.is_finished(job, before)):
        return None
    validate.check(job.config)
    if reason := obstacle(job):
        return reason
    load_splits(job.config.dataset)  # keeps them; a failed load leaves nothing in the folder
    if before:
        attempt.check_files_of_others(job.directory)
    record = own.enter_context(recording(job.directory, before, ends=False))
    splits, resumed = attempt.prepare(job, record, before, Clock(), asks_longer=False)
    resolved = copy.deepcopy(job.config)
    OmegaConf.resolve(resolved)  # Hydra's own values are gone when the training starts
    return Replica(resolved, splits, job.directory, record, resumed)


def obstacle(job: Job) -> str | None:
    """Return why a run of a valid config is trained alone; None if it can be with others."""
    from dermaexp.launch.attempt import trial_of

    config, trainer = job.config, job.config.trainer
    optimizer = config.optimizer._target_
    callbacks = config.callbacks or {}
    others = [
        name
        for name, callback in callbacks.items()
        if callback and not (_is_ours(callback) and only_observes(callback._target_))
    ]
    several = {key: trainer.get(key, 1) for key in ("devices", "num_nodes")}
    reasons = {
        "compile=true compiles one model at a time": config.compile,
        "finetune trains parts of one model": config.finetune,
        "trainer.precision=16-mixed scales one loss": trainer.get("precision") == "16-mixed",
        "trainer.max_time is the time of one run": trainer.get("max_time"),
        "a run of several processes has all of them": any(n != 1 for n in several.values()),
        f"callbacks.{', '.join(others)} may act on one run": others,
        f"{optimizer} may treat parameters together": not optimizer.startswith("torch.optim.")
        or optimizer == "torch.optim.LBFGS",
        "a tracker follows one run": any(dict(config.logger or {}).values()),
        "hydra.job.chdir works in the folder of one run": job.hydra.job.chdir,
        "a search may prune one run": trial_of(job),
    }
    return next((reason for reason, applies in reasons.items() if applies), None)


def _is_ours(callback: DictConfig) -> bool:
    return str(callback.get("_target_")).startswith("dermaexp.")


def _but_seed(replica: Replica) -> str:
    """What must be equal for replicas, as text."""
    record = replica.record
    config = {**record["config"], "seed": None}
    return config_digest(identity(config, record["data"], record.get("initial_weights")))
