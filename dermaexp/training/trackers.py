"""TensorBoard, MLflow, Weights & Biases or another of Lightning's loggers, for one run.

A thread sends what a run gives, so that a tracker which is down or slow holds nothing up.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import OmegaConf

from dermaexp.core.console import print_warning
from dermaexp.core.errors import UserError, typed

PATIENCE = 15.0  # seconds that a training waits for a tracker to begin
FAREWELL = 30.0  # and, when it is over, to receive what is left
PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds before something is sent again
PARENT = "DERMAEXP_MLFLOW_PARENT"  # environment variable: the sweep's run, in its jobs
PACKAGES = ("tensorboard", "mlflow", "wandb")  # each is an extra of its name
SQLITE = "sqlite:///"
QUIET = {  # else they send statistics of their use, try for many minutes, or print
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "WANDB_ERROR_REPORTING": "false",
}


@dataclass
class Tracked:
    """What a tracker is told of a run."""

    name: str
    folder: Path
    config: Mapping[str, Any]  # resolved; empty for a sweep
    identity: str | None = None  # the tracker's own, from an earlier attempt


class Tracker:
    """One of Lightning's loggers, as the config describes it."""

    def __init__(self, component: Mapping[str, Any], run: Tracked) -> None:
        self.component, self.run = component, run
        self.logger: Any = None  # until it began

    def begin(self) -> str | None:
        """Connect, and return by what the tracker knows the run, if it is known here."""
        logger = instantiate({**self.keys(), **self.component})
        logger.experiment  # noqa: B018 it connects
        self.logger = logger
        return self.identity()

    def keys(self) -> dict[str, Any]:
        return {}

    def identity(self) -> str | None:
        return None

    def log_config(self) -> None:
        self.logger.log_hyperparams(self.run.config)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None) -> None:
        self.logger.log_metrics(dict(metrics), step)

    def log_final(self, metrics: Mapping[str, float], step: int) -> None:
        self.log_metrics(metrics, step)

    def log_file(self, file: Path, step: int) -> None:
        """Send a figure, where the tracker takes some."""

    def end(self, status: str) -> None:
        """`status` is "success", "failed" or "KILLED"."""
        self.logger.finalize(status)


class TensorBoard(Tracker):
    def keys(self) -> dict[str, Any]:
        own = {"name": "", "version": "tensorboard", "default_hp_metric": False}
        return {"save_dir": str(self.run.folder), **own}

    def identity(self) -> str:
        return Path(self.logger.log_dir).name

    def log_config(self) -> None:
        text = OmegaConf.to_yaml(OmegaConf.create(dict(self.run.config)))
        self.logger.experiment.add_text("config", f"```\n{text}```")

    def log_metrics(self, metrics: Mapping[str, float], step: int | None) -> None:
        super().log_metrics(metrics, step)
        self.logger.experiment.flush()

    def log_final(self, metrics: Mapping[str, float], step: int) -> None:
        """Only now, as its table of runs takes config and metrics together."""
        self.logger.log_hyperparams(self.run.config, metrics, step)

    def log_file(self, file: Path, step: int) -> None:
        import numpy as np
        from PIL import Image

        with Image.open(file) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        self.logger.experiment.add_image(f"figures/{file.stem}", pixels, step, dataformats="HWC")


class MLflow(Tracker):
    def __init__(self, component: Mapping[str, Any], run: Tracked) -> None:
        """Settle where a database lies: MLflow would look for it again in another folder."""
        uri = component.get("tracking_uri") or ""
        if uri.startswith(SQLITE):
            path = Path(uri.removeprefix(SQLITE)).absolute()
            component = {**component, "tracking_uri": f"{SQLITE}{path}"}
        super().__init__(component, run)

    def keys(self) -> dict[str, Any]:
        tags = {"dermaexp.directory": str(self.run.folder)}
        if parent := os.environ.get(PARENT):
            tags["mlflow.parentRunId"] = parent
        return {"run_name": self.run.name, "run_id": self.run.identity, "tags": tags}

    def identity(self) -> str:
        if self.run.identity:
            self.logger.experiment.update_run(self.run.identity, status="RUNNING")
        return self.logger.run_id

    def log_config(self) -> None:
        if not self.run.identity:  # it takes another value of a key for an error
            super().log_config()

    def log_file(self, file: Path, step: int) -> None:
        folder = "figures" if file.suffix == ".png" else None
        self.logger.experiment.log_artifact(self.logger.run_id, str(file), folder)


class WandB(Tracker):
    def keys(self) -> dict[str, Any]:
        settings = {
            "console": "off",  # it would take over the terminal
            "silent": True,
            "init_timeout": PATIENCE,
            "finish_timeout": FAREWELL,
        }
        run = {"name": self.run.name, "id": self.run.identity, "save_dir": str(self.run.folder)}
        return {**run, "settings": settings}

    def identity(self) -> str:
        return self.logger.experiment.id

    def log_file(self, file: Path, step: int) -> None:
        self.logger.log_image(f"figures/{file.stem}", [str(file)], step)

    def end(self, status: str) -> None:
        self.logger.experiment.finish(exit_code=int(status != "success"))


KINDS: dict[str, type[Tracker]] = {
    "pytorch_lightning.loggers.TensorBoardLogger": TensorBoard,
    "pytorch_lightning.loggers.MLFlowLogger": MLflow,
    "pytorch_lightning.loggers.WandbLogger": WandB,
}


def tracker(component: Mapping[str, Any], run: Tracked) -> Tracker:
    """Return the tracker that the config's `component` describes."""
    return KINDS.get(str(component["_target_"]), Tracker)(component, run)


def check_packages(loggers: Mapping[str, Any]) -> None:
    """Raise UserError where the package of a tracker is missing."""
    for name, component in loggers.items():
        if component and name in PACKAGES and find_spec(name) is None:
            raise UserError(
                f"logger={name} needs a package that is missing: pip install 'dermaexp[{name}]'"
            )


class Sender:
    """Sends to one tracker from a thread, in order; a failure is reported once, and tried again.

    What cannot be sent until the end is lost.
    """

    def __init__(self, name: str, tracker: Tracker) -> None:
        self.name = name
        self.tracker = tracker
        self.identity: str | None = None
        self._began = threading.Event()
        self._ending = threading.Event()
        self._warned = False
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"tracker {name}", daemon=True)

    def begin(self) -> None:
        """Start, and wait a while for the tracker."""
        for variable, value in QUIET.items():
            os.environ.setdefault(variable, value)
        self._thread.start()
        self._began.wait(PATIENCE)

    def send(self, what: str, *arguments: Any) -> None:
        """Call this method of the tracker, when its turn comes."""

        def call() -> None:
            if self.tracker.logger is not None:
                getattr(self.tracker, what)(*arguments)

        self._calls.put(call)

    def end(self, status: str) -> None:
        """Wait a while for what is left."""
        self.send("end", status)
        self._calls.put(None)
        self._ending.set()
        self._thread.join(FAREWELL)
        if self._thread.is_alive():
            self._warn(f"it did not answer for {FAREWELL:.0f} seconds")

    def _work(self) -> None:
        self._try(self._begin)
        self._began.set()
        while call := self._calls.get():
            self._try(call)

    def _begin(self) -> None:
        self.identity = self.tracker.begin()

    def _try(self, call: Callable[[], None]) -> None:
        """Call until it succeeds; once only, when the run is over."""
        pause = PAUSE
        while True:
            is_last = self._ending.is_set()
            try:
                return call()
            except Exception as error:  # of any kind, as each tracker has its own
                if is_last or pause > PAUSE:  # another job may have created the database meanwhile
                    self._warn(typed(error))
                if is_last:
                    return None
            self._ending.wait(pause)
            pause = LONGEST_PAUSE

    def _warn(self, reason: str) -> None:
        self._began.set()  # there is nothing to wait for
        if not self._warned:
            self._warned = True
            print_warning(
                f"logger={self.name} does not take what is sent ({reason}): the run goes on "
                "without, and its directory holds all numbers"
            )
