"""Training on a GPU; skipped where there is none."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import NO_FIGURES, overridden
from torch import nn

from dermaexp.data import npz
from dermaexp.data.datamodule import ImageDataModule
from dermaexp.models.cnn import CNN
from dermaexp.runs.directory import RunDirectory
from dermaexp.training.augment import Augment
from dermaexp.training.classifier import Classifier
from dermaexp.training.losses import FocalLoss, WeightedCrossEntropy
from dermaexp.training.replicas import Replicas

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]

DEVICE = torch.device("cuda")

# From the end of an epoch's first step, which may allocate, to the end of its last.
OWN = """
import json
from pathlib import Path
import torch
from pytorch_lightning import Callback
class NoWaiting(Callback):
    def __init__(self, file):
        self.file, self.steps = Path(file), 0
    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        assert all(part.is_cuda for part in batch)
        last = batch_idx + 1 == trainer.num_training_batches
        torch.cuda.set_sync_debug_mode("default" if last else "error")
        self.steps += not last
        if last:
            self.file.write_text(json.dumps(self.steps))
    def on_exception(self, *_):
        torch.cuda.set_sync_debug_mode("default")
"""


@pytest.fixture
def train(
    cli: Callable[..., int], data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)

    def run(*given: str, folder: str = "run") -> Path:
        options = ("dataset=npz", f"dataset.path={data_file}", "trainer=gpu", "model=cnn")
        options = (*options, "epochs=2", "batch_size=8", *NO_FIGURES, f"hydra.run.dir={folder}")
        assert cli(*overridden(options, *given)) == 0
        return tmp_path / folder

    return run


@pytest.mark.parametrize(
    "given",
    [
        [],
        ["trainer.precision=bf16-mixed"],
        ["compile=true"],
        ["trainer.gradient_clip_val=1", "scheduler=cosine"],
        ["model=ffn", "augment=dihedral", "optimizer=sgd"],
    ],
)
def test_no_step_waits_for_the_device(train, given: list[str], tmp_path: Path) -> None:
    """The images are on the device, so that no batch is copied there either."""
    file = tmp_path / "steps.json"
    run = train("+callbacks.own._target_=own.NoWaiting", f"+callbacks.own.file={file}", *given)
    assert json.loads(file.read_text()) == 2 * 14, "120 images in batches of 8, twice"
    numbers = RunDirectory(run).read_metrics()
    assert RunDirectory(run).read_run()["device"]["type"] == "cuda"
    assert np.isfinite(numbers["test"]["loss"])


def test_the_numbers_are_those_of_the_cpu(train) -> None:
    rows = [
        RunDirectory(train(f"trainer={trainer}", folder=trainer)).read_history()
        for trainer in ("gpu", "cpu")
    ]
    losses = [[row["val_loss"] for row in of_run] for of_run in rows]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)


@pytest.mark.parametrize("loss", [FocalLoss, WeightedCrossEntropy])
def test_no_stacked_step_waits_for_the_device(loss: Callable[..., nn.Module]) -> None:
    """But for an epoch's first step, which may allocate."""
    shape, classes, seeds, batch = (1, 28, 28), 7, (0, 1), 8
    counts = dict.fromkeys(map(str, range(classes)), 10)
    adam = functools.partial(torch.optim.Adam, fused=True)
    augment = Augment(classes, dihedral=True, rotation=10, erase=0.5, mixup=0.5)
    classifiers = [
        Classifier(CNN(shape, classes), adam, loss=loss(counts), augment=augment) for _ in seeds
    ]
    module = Replicas(classifiers, None, seeds, is_stacked=True).to(DEVICE)  # type: ignore[arg-type]
    optimizer = module.configure_optimizers()["optimizer"]
    module.on_train_epoch_start()
    total = len(seeds) * batch
    images = torch.randint(256, (total, *shape), dtype=torch.uint8, device=DEVICE)
    targets = torch.randint(classes, (total,), device=DEVICE)
    indices = torch.arange(total, device=DEVICE)
    try:
        for number in range(20):
            optimizer.zero_grad()
            module.training_step((images, targets, indices), number).backward()
            module.configure_gradient_clipping(optimizer, 1.0)
            optimizer.step()
            torch.cuda.set_sync_debug_mode("error")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert [classifier.sums.means()[2] for classifier in classifiers] == [20 * batch] * len(seeds)


@pytest.mark.usefixtures("tables_only")
@pytest.mark.parametrize("model", ["cnn", "resnet11"])
@pytest.mark.parametrize(("precision", "atol"), [("32-true", 1e-2), ("bf16-mixed", 5e-2)])
def test_stacked_replicas_are_single_runs(
    cli: Callable[..., int],
    data_file: Path,
    tmp_path: Path,
    capsys,
    model: str,
    precision: str,
    atol: float,
) -> None:
    given = ("trainer=gpu", f"model={model}", f"trainer.precision={precision}")
    data = ("dataset=npz", f"dataset.path={data_file}", *given)
    options = (*data, "epochs=2", "optimizer=sgd", *NO_FIGURES, "report=false", "seed=0,1")
    for name, replicas in (("alone", 1), ("together", 2)):
        assert cli("-m", *options, f"name={name}", f"sweep.replicas={replicas}") == 0
    assert "one after the other" not in capsys.readouterr().out
    alone, together = (
        [RunDirectory(run) for run in sorted((tmp_path / "multirun" / name).glob("seed=*"))]
        for name in ("alone", "together")
    )
    for own, other in zip(together, alone, strict=True):
        assert own.read_run()["replicas"] == [0, 1]
        answers = [run.read_predictions()["test_probabilities"] for run in (own, other)]
        np.testing.assert_allclose(*answers, atol=atol)


@pytest.mark.parametrize("fits", [True, False])
def test_images_are_on_the_device_if_they_fit(
    data_file: Path, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, here = (
        ImageDataModule(npz.load(str(data_file)), batch_size=8, grayscale=False, seed=0)
        for _ in range(2)
    )
    data.trainer = SimpleNamespace(  # type: ignore[assignment]  # what it reads of one
        global_rank=0, world_size=1, strategy=SimpleNamespace(root_device=DEVICE)
    )
    if not fits:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (1000, 1000))
    for batch, same in zip(data.train_dataloader(), here.train_dataloader(), strict=True):
        assert all(part.is_cuda == fits for part in batch)
        assert all(torch.equal(part.cpu(), other) for part, other in zip(batch, same, strict=True))
    assert not data.images["train"].images.is_cuda, "figures read them here"
