"""conf/experiment: each trains as it stands, and means what its name says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import NO_FIGURES
from omegaconf import DictConfig, OmegaConf

PROJECT = Path(__file__).resolve().parents[2]
EXPERIMENTS = sorted(path.stem for path in (PROJECT / "conf" / "experiment").glob("*.yaml"))


@pytest.fixture
def composed(cli: Callable[..., int], capsys: pytest.CaptureFixture) -> Callable[..., DictConfig]:
    def compose(*arguments: str) -> DictConfig:
        assert cli(*arguments, "--cfg", "job") == 0
        return OmegaConf.create(capsys.readouterr().out)

    return compose


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_it_trains_on_any_data(
    experiment: str, cli: Callable[..., int], data_file: Path, tmp_path: Path
) -> None:
    data = ["dataset=npz", f"dataset.path={data_file}", "dataset.name=Small", "trainer=cpu"]
    small = ["epochs=1"] + ["model.width=4"] * (experiment in ("quick", "strong"))
    assert cli(f"experiment={experiment}", *data, *small, *NO_FIGURES, "hydra.run.dir=run") == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["name"], record["choices"]["experiment"]) == (experiment, experiment)
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["data"]["name"] == "Small"


@pytest.mark.parametrize("net", ["ffn", "cnn"])
def test_the_notebooks_are_the_defaults(net: str, composed: Callable[..., DictConfig]) -> None:
    notebook = composed(f"experiment=notebook_{net}")
    assert notebook.pop("name") == f"notebook_{net}"
    plain = composed(f"model={net}")
    assert plain.pop("name") == net
    assert notebook == plain


def test_medmnists_protocol(composed: Callable[..., DictConfig]) -> None:
    """Yang et al., Scientific Data 10:41 (2023), "Baseline methods"."""
    config = composed("experiment=medmnist_resnet18")
    assert (config.epochs, config.batch_size, config.checkpoint.test_with) == (100, 128, "best")
    assert (config.optimizer["_target_"], config.optimizer.lr) == ("torch.optim.Adam", 1e-3)
    assert config.optimizer.weight_decay == 0
    assert config.scheduler.milestones == [0.5, 0.75] and config.scheduler.gamma == 0.1
    assert config.dataset.normalize == [0.5, 0.5] and not config.dataset.grayscale
    assert config.loss == {
        "_target_": "dermaexp.training.losses.CrossEntropy",
        "label_smoothing": 0.0,
    }
    changes = {key for key, value in config.augment.items() if value}
    assert changes == {"_target_", "alpha"} and config.test_time_augment == "none"


def test_strong_is_quick_wider_and_longer(composed: Callable[..., DictConfig]) -> None:
    strong = {
        "name": "strong",
        "epochs": 90,
        "test_time_augment": "dihedral_zoom",
        "model": {"width": 40},
        "augment": {"mixup": 0.3},
        "optimizer": {"lr": 4e-3},
    }
    quick = composed("experiment=quick")
    assert composed("experiment=strong") == OmegaConf.merge(quick, strong)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_its_file_says_what_to_expect(experiment: str) -> None:
    text = (PROJECT / "conf" / "experiment" / f"{experiment}.yaml").read_text()
    third = text.splitlines()[2]
    assert third.startswith("# Expect ") and "accuracy 0." in third and "macro AUROC 0." in third
    assert "on two cores" in third
