"""What happens around the jobs of a sweep: their folders, their comparison, the exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from dermaexp.console import console, print_error
from dermaexp.errors import UserError, explain
from dermaexp.folders import hold, sweep_folder
from dermaexp.resume import quoted


class Sweep(Callback):
    """Hydra's callback of every sweep; a failed job makes the exit code 1."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Settle the sweep's folder, which the jobs' own configs must not compute again."""
        overrides = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
        swept = {override.key_or_group for override in overrides if override.is_sweep_override()}
        shared = {override.key_or_group for override in overrides} - swept
        if "name" in swept:
            print_error("name takes several values: expected one, it names the whole sweep")
            sys.exit(1)
        given = any(o.startswith("hydra.sweep.dir=") for o in config.hydra.overrides.hydra)
        if "name" in shared and not given:
            config.hydra.sweep.dir = sweep_folder(config.name)
        folder = Path(config.hydra.sweep.dir).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            hold(folder)
        except UserError as error:  # Hydra would only warn
            print_error(str(error))
            sys.exit(1)
        # Hydra composes every job's config anew, from these overrides.
        config.hydra.sweep.dir = str(folder)
        config.hydra.overrides.hydra += [
            f"hydra.sweep.dir={quoted(folder)}",
            f"hydra.job.config.override_dirname.exclude_keys=[{','.join(sorted(shared))}]",
        ]

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        try:
            from dermaexp.compare import compare

            failed = compare(folder)
        except Exception as error:  # Hydra would only warn
            print_error(f"the comparison of {folder} failed: {explain(error)}")
            sys.exit(1)
        console.print(f"sweep directory: {folder.absolute()}", soft_wrap=True, markup=False)
        if failed:
            print_error(f"{failed} of the sweep's jobs did not finish: see the table above")
            sys.exit(1)
