"""The one logger of Lightning's Trainer: it passes everything on to the trackers of the config."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers.logger import Logger

from dermaexp.core import processes
from dermaexp.metrics.names import METRICS
from dermaexp.runs.directory import FIGURES, RunDirectory
from dermaexp.training.trackers import Sender, Tracked, check_packages, tracker


class Trackers(Logger):
    """The trackers of a run, in process 0; history.csv and metrics.json hold the numbers, too.

    Some callbacks refuse a trainer without a logger, and others write where it says.
    """

    name = ""
    version = ""

    def __init__(self, config: DictConfig, directory: RunDirectory) -> None:
        """Raises UserError where the package of a tracker is missing."""
        super().__init__()
        self.directory = directory
        values = OmegaConf.to_container(config, resolve=True)
        assert isinstance(values, dict)
        # Where a run is tracked is no part of it, and may hold a password.
        self.components: dict[str, Any] = values.pop("logger", None) or {}
        self.config = {str(key): value for key, value in values.items()}
        check_packages(self.components)
        self.senders: list[Sender] = []

    @property
    def save_dir(self) -> str:
        return str(self.directory.path)

    @contextlib.contextmanager
    def tracking(self, record: dict[str, Any]) -> Iterator[None]:
        """Track what runs inside; continue the tracked runs that `record` names, and name them."""
        if processes.rank() > 0 or not any(self.components.values()):
            yield
            return
        earlier = record.get("trackers", {})
        for name, component in self.components.items():
            if component:
                run = Tracked(
                    str(record["name"]), self.directory.path, self.config, earlier.get(name)
                )
                self.senders.append(Sender(name, tracker(component, run)))
        for sender in self.senders:
            sender.begin()
            sender.send("log_config")
        self._name_runs(record)
        status = "failed"
        try:
            yield
            status = "success"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            for sender in self.senders:
                sender.end(status)
            self._name_runs(record)  # a tracker may have been down at first
            self.senders.clear()

    def conclude(self, results: Mapping[str, Any]) -> None:
        """Send the final val and test metrics of metrics.json, and the figures."""
        final = {
            f"final/{split}_{metric}": results[split][metric]
            for split in ("val", "test")
            for metric in METRICS
            if results[split].get(metric) is not None
        }
        files = [self.directory.figures / f"{name}.png" for name in FIGURES]
        for sender in self.senders:
            sender.send("log_final", final, results["epochs"])
            for file in filter(lambda file: file.exists(), files):
                sender.send("log_file", file, results["epochs"])

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        for sender in self.senders:
            sender.send("log_metrics", dict(metrics), step)

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        """Nothing: the whole config is sent at the start."""

    def _name_runs(self, record: dict[str, Any]) -> None:
        found = {sender.name: sender.identity for sender in self.senders if sender.identity}
        named = record.get("trackers", {}) | found
        if named != record.get("trackers", {}):
            record["trackers"] = named
            self.directory.write_run(record)
