"""What Lightning must know of processes that exist already, and which strategies they can use."""

from __future__ import annotations

import re
import signal

from omegaconf import DictConfig
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from pytorch_lightning.strategies import DDPStrategy

from dermaexp.core import processes
from dermaexp.core.errors import UserError, one_line


def environment() -> ClusterEnvironment:
    """Return Lightning's view of the processes of this run."""
    if processes.by_torch():
        return TorchElasticEnvironment()
    if processes.by_slurm():
        try:
            return SLURMEnvironment(auto_requeue=False)  # submitit queues the job again
        except RuntimeError as error:
            raise UserError(one_line(error)) from error
    return LightningEnvironment()


class PlainSigterm(Callback):
    """Keeps the handler of SIGTERM in a run of several processes.

    Lightning's talks to the other processes, which hangs if this one is talking already.
    """

    def __init__(self) -> None:
        self.handler = signal.getsignal(signal.SIGTERM)

    def _set(self, trainer: Trainer) -> None:
        if trainer.world_size > 1 and self.handler is not None:
            signal.signal(signal.SIGTERM, self.handler)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._set(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._set(trainer)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._set(trainer)


def check_processes(trainer: Trainer, given: DictConfig) -> None:
    """Raise UserError where the keys `given` to `trainer` do not fit its processes."""
    strategy = given.get("strategy", "auto")
    devices, nodes = trainer.num_devices, trainer.num_nodes
    if processes.are_launched() and processes.count() != devices * nodes:
        name = "WORLD_SIZE" if processes.by_torch() else "SLURM_NTASKS"
        raise UserError(
            f"{name}={processes.count()} processes were started, but trainer.devices={devices} "
            f"times trainer.num_nodes={nodes} is {devices * nodes}: start as many, or give "
            "trainer=ddp trainer.devices=PROCESSES_OF_A_NODE trainer.num_nodes=NODES"
        )
    if nodes > 1 and not processes.are_launched():
        raise UserError(
            f"trainer.num_nodes={nodes} needs a process of each node: start the run by torchrun "
            "on every node, or by hydra/launcher=submitit_slurm (docs/distributed.md)"
        )
    ours = isinstance(trainer.strategy, DDPStrategy) and not re.search(
        "spawn|fork|notebook", strategy
    )
    if trainer.world_size > 1 and not ours:
        raise UserError(
            f"trainer.strategy={strategy} is not supported with several devices: give trainer=ddp"
        )
    on_gpus = trainer.strategy.root_device.type == "cuda"
    if trainer.world_size > 1 and given.get("sync_batchnorm") and not on_gpus:
        raise UserError(
            "trainer.sync_batchnorm=true works between GPUs only: give trainer.sync_batchnorm=false"
        )
