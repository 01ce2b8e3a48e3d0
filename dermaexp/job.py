"""One job of Hydra's: checked, recorded in run.json and the log, run. No torch before it runs."""

from __future__ import annotations

import logging

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from dermaexp import settings
from dermaexp.clock import Clock
from dermaexp.console import console, print_error
from dermaexp.data.sources import load_splits
from dermaexp.errors import explain
from dermaexp.results import RunDirectory, config_digest, recording

log = logging.getLogger(__name__)


def run_job(config: DictConfig) -> float:
    """Run the experiment in Hydra's output folder; returns its val macro AUROC.

    In a sweep a failure is told at once and gives NaN, so that the other jobs go on; a single run
    raises it.
    """
    hydra_config = HydraConfig.get()
    directory = RunDirectory(hydra_config.runtime.output_dir)
    in_sweep = hydra_config.mode == RunMode.MULTIRUN
    # Frameworks warn of much that a user cannot change: it goes to the log, not to the terminal.
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a log that cannot be written must not hide the reason why
    if in_sweep:
        job = f"job {hydra_config.job.num}: {' '.join(hydra_config.overrides.task)}"
        console.print(f"\n{job}", soft_wrap=True, markup=False)
    try:
        score = _recorded(config, directory, hydra_config)
    except Exception as error:
        log.exception("the run failed")
        if not in_sweep:
            raise
        print_error(f"job {hydra_config.job.num} failed: {explain(error)}")
        return float("nan")
    console.print(f"run directory: {directory.path}", soft_wrap=True, markup=False)
    return score


def _recorded(config: DictConfig, directory: RunDirectory, hydra_config: DictConfig) -> float:
    clock = Clock()
    with recording(directory) as record:
        record["name"] = str(config.name)
        record["overrides"] = list(hydra_config.overrides.task)
        choices = hydra_config.runtime.choices
        record["choices"] = {group: choices.get(group) for group in settings.GROUPS}
        settings.check(config)
        record["seed"] = config.seed
        record["config"] = settings.effective(config)
        record["config_digest"] = config_digest(record["config"])
        with clock.part("data"):
            splits = load_splits(config.dataset)
        record["data"] = {
            "name": splits.title,
            "fingerprint": splits.fingerprint,
            "test_fingerprint": splits.test_fingerprint,
            "synthetic": splits.synthetic,
        }
        directory.write_run(record)
        from dermaexp import experiment  # torch starts here

        return experiment.run(config, splits, directory, record, clock)
