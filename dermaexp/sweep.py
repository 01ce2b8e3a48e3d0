"""What happens around the jobs of a sweep: their folders, their comparison, the exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from dermaexp.console import console, print_error
from dermaexp.errors import explain
from dermaexp.results import RunDirectory


class Sweep(Callback):
    """Hydra's callback of every sweep; a failed job makes the exit code 1."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Refuse a folder with runs in it; name the jobs' folders after what the jobs vary."""
        folder = Path(config.hydra.sweep.dir)
        if folder.is_dir() and any(RunDirectory(entry).has_run() for entry in folder.iterdir()):
            print_error(f"{folder} holds runs already: choose another hydra.sweep.dir")
            sys.exit(1)
        parsed = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
        swept = {override.key_or_group for override in parsed if override.is_sweep_override()}
        shared = {override.key_or_group for override in parsed} - swept
        # Hydra composes every job's config anew, from these overrides.
        config.hydra.overrides.hydra.append(
            f"hydra.job.config.override_dirname.exclude_keys=[{','.join(sorted(shared))}]"
        )

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
